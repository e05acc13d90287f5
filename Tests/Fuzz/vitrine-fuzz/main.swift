// `vitrine-fuzz TARGET [libFuzzer's arguments]`: one of the fuzz targets under libFuzzer. Tools/fuzz builds it, with the
// sanitizers, and runs it.

import CLibFuzzer
import FuzzTargets
import Glibc

let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
guard CommandLine.arguments.count > 1, let target = FuzzTarget(rawValue: CommandLine.arguments[1]) else {
    print("vitrine-fuzz TARGET [libFuzzer's arguments]; the targets are \(names)")
    exit(2)
}
chosen = target
var arguments: [UnsafeMutablePointer<CChar>?] =
    ([CommandLine.arguments[0]] + CommandLine.arguments.dropFirst(2)).map { strdup($0) } + [nil]
var count = Int32(arguments.count - 1)
let status = arguments.withUnsafeMutableBufferPointer { buffer in
    var pointer = buffer.baseAddress
    return LLVMFuzzerRunDriver(&count, &pointer) { data, size in
        chosen.run(UnsafeRawBufferPointer(start: data, count: size))
        return 0
    }
}
exit(status)
