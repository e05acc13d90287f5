// What a process of the linux layout found on its stack: argc, pointers, the auxiliary vector, by the System V ABI (AMD64
// supplement, section 3.4.1).

import Addresses
import Layouts

/// Reads the first words of a stack as a program's start code does.
struct LinuxArguments<Guest: AuditGuest> {
    let process: LinuxProcess<Guest>

    static var expected: String {
        "at RSP, a multiple of 16: argc, pointers to so many strings, 0, those of the environment, 0, the auxiliary vector"
    }

    /// Reads everything.
    func finding() throws -> AuditFinding {
        let pointer = try process.bound("stack-pointer")
        guard pointer & 15 == 0 else { return .wrong("RSP is \(GVA(pointer).hex)") }
        let count = try process.word(pointer)
        guard count > 0, count < 1024 else { return .wrong("argc is \(count)") }
        var next = pointer + 8
        let middle = try process.bound("environment")
        guard let arguments = try strings(&next, from: try process.bound("arguments"), to: middle) else {
            return .wrong("a pointer to an argument leads elsewhere")
        }
        guard UInt64(arguments.count) == count else {
            return .wrong("argc is \(count), with \(counted(arguments.count, "argument"))")
        }
        guard let environment = try strings(&next, from: middle, to: try process.bound("environment-end")) else {
            return .wrong("a pointer to the environment leads elsewhere")
        }
        var vector: [UInt64: UInt64] = [:]
        while vector.count < 64 {
            let (type, value) = (try process.word(next), try process.word(next + 8))
            next += 16
            if type == 0 { break }
            vector[type] = value
        }
        guard next <= (try process.bound("stack-end")) else { return .wrong("the auxiliary vector does not end") }
        // AT_PAGESZ, AT_PHENT, AT_ENTRY, AT_PHDR, AT_RANDOM, AT_EXECFN.
        guard vector[6] == 4096, vector[4] == 56 else { return .wrong("AT_PAGESZ or AT_PHENT is wrong") }
        guard let entry = vector[9], entry >= (try process.bound("code")), entry < (try process.bound("code-end"))
        else {
            return .wrong("AT_ENTRY is not in the text")
        }
        // The first program header is of a known type: PT_LOAD, PT_PHDR or one of GNU's.
        guard let headers = vector[3], [1, 6].contains(try process.word(headers) & 0xffff_ffff), let number = vector[5],
            number > 0
        else { return .wrong("AT_PHDR does not lead to program headers") }
        guard let random = vector[25], try process.word(random & ~7) != 0 else { return .wrong("AT_RANDOM is wrong") }
        guard let name = vector[31], try process.text(name) == arguments.first else {
            return .wrong("AT_EXECFN is not the first argument")
        }
        return .right(
            "\(arguments.joined(separator: " ")); \(environment.joined(separator: " ")); "
                + "\(vector.count) entries of the auxiliary vector")
    }

    /// The strings that pointers up to a 0 lead to, all in one range; nil if one is not.
    private func strings(_ next: inout UInt64, from: UInt64, to: UInt64) throws -> [String]? {
        var found: [String] = []
        while found.count < 1024 {
            let pointer = try process.word(next)
            next += 8
            if pointer == 0 { return found }
            guard pointer >= from, pointer < to else { return nil }
            found.append(try process.text(pointer))
        }
        return nil
    }
}
