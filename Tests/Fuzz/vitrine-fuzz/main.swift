// `vitrine-fuzz TARGET [libFuzzer's arguments]`: one of the fuzz targets under libFuzzer. Tools/fuzz builds it, with the
// sanitizers, and runs it.

import CLibFuzzer
import FuzzTargets
import Glibc

// libFuzzer starts this program again for some of its work (-merge), with its own arguments alone: the name of the target
// is passed on in the environment.
let variable = "VITRINE_FUZZ_TARGET"
let inherited = getenv(variable).flatMap { FuzzTarget(rawValue: String(cString: $0)) }
let named = CommandLine.arguments.count > 1 ? FuzzTarget(rawValue: CommandLine.arguments[1]) : nil
guard let target = named ?? inherited else {
    let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
    print("vitrine-fuzz TARGET [libFuzzer's arguments]; the targets are \(names)")
    exit(2)
}
setenv(variable, target.rawValue, 1)
chosen = target
var arguments: [UnsafeMutablePointer<CChar>?] =
    ([CommandLine.arguments[0]] + CommandLine.arguments.dropFirst(named == nil ? 1 : 2)).map { strdup($0) } + [nil]
var count = Int32(arguments.count - 1)
let status = arguments.withUnsafeMutableBufferPointer { buffer in
    var pointer = buffer.baseAddress
    return LLVMFuzzerRunDriver(&count, &pointer) { data, size in
        chosen.run(UnsafeRawBufferPointer(start: data, count: size))
        return 0
    }
}
exit(status)
