// The filters of system calls, run here as the kernel runs them.

import CallLists
import Glibc
import SystemCalls
import Testing

@testable import Sandbox

/// What the kernel hands a filter (struct seccomp_data, linux/seccomp.h).
private struct Call {
    var number: UInt32
    var architecture: UInt32 = 0xc000_003e  // AUDIT_ARCH_X86_64
    var arguments = [UInt64](repeating: 0, count: 6)

    func word(at offset: UInt32) -> UInt32? {
        switch offset {
        case 0: return number
        case 4: return architecture
        case 16..<64:
            let argument = arguments[Int(offset - 16) / 8]
            return UInt32(truncatingIfNeeded: offset % 8 == 0 ? argument : argument >> 32)
        default: return nil
        }
    }
}

/// What a filter answers; nil for a program that is none.
private func answer(_ program: [UInt64], _ call: Call) -> UInt32? {
    var accumulator: UInt32 = 0
    var next = 0
    while next < program.count {
        let code = program[next] & 0xffff
        let constant = UInt32(program[next] >> 32)
        let jumps = (taken: Int(program[next] >> 16 & 0xff), other: Int(program[next] >> 24 & 0xff))
        next += 1
        switch code {
        case 0x20:  // LD | W | ABS
            guard let word = call.word(at: constant) else { return nil }
            accumulator = word
        case 0x54: accumulator &= constant  // ALU | AND | K
        case 0x05: next += Int(constant)  // JMP | JA
        case 0x15: next += accumulator == constant ? jumps.taken : jumps.other
        case 0x25: next += accumulator > constant ? jumps.taken : jumps.other
        case 0x35: next += accumulator >= constant ? jumps.taken : jumps.other
        case 0x06: return constant  // RET | K
        default: return nil
        }
    }
    return nil
}

private let allow: UInt32 = 0x7fff_0000
private let trap: UInt32 = 0x0003_0000
private let log: UInt32 = 0x7ffc_0000
private let killProcess: UInt32 = 0x8000_0000

@Suite struct FilterTests {
    let process: UInt32 = 4711

    /// Every combination that a guest's process may have.
    private static let kinds: [(role: ThreadRole, opensFiles: Bool)] =
        ThreadRole.allCases.flatMap { role in [(role, false), (role, true)] }

    private func program(_ role: ThreadRole, _ opensFiles: Bool, logs: Bool = false) -> [UInt64] {
        Filter.complete(Filter.made(for: role, opensFiles: opensFiles), process: process, logs: logs)
    }

    /// The arguments that fulfil conditions.
    private func arguments(_ conditions: [ArgumentCondition]) -> [UInt64] {
        var arguments = [UInt64](repeating: 0, count: 6)
        for condition in conditions {
            let value = condition.value == AllowedCall.thisProcess ? UInt64(process) : condition.value
            arguments[Int(condition.argument)] |= value
        }
        return arguments
    }

    @Test(arguments: FilterTests.kinds) func allowsTheListAndNothingElse(role: ThreadRole, opensFiles: Bool) {
        let list = AllowedCall.list(of: role, opensFiles: opensFiles)
        let filter = program(role, opensFiles)
        for call in list {
            for conditions in call.alternatives.isEmpty ? [[]] : call.alternatives {
                let right = Call(number: UInt32(call.number), arguments: arguments(conditions))
                #expect(answer(filter, right) == allow, "\(call.name)")
            }
        }
        let numbers = Set(list.map { UInt32($0.number) })
        for number in 0..<UInt32(600) where !numbers.contains(number) {
            #expect(answer(filter, Call(number: number)) == trap, "\(number)")
        }
    }

    @Test(arguments: FilterTests.kinds) func refusesOtherArguments(role: ThreadRole, opensFiles: Bool) {
        let filter = program(role, opensFiles)
        for call in AllowedCall.list(of: role, opensFiles: opensFiles) {
            for conditions in call.alternatives {
                for condition in conditions {
                    // One bit of those that count: no other alternative has that value.
                    var wrong = Call(number: UInt32(call.number), arguments: arguments(conditions))
                    let bit = condition.mask & (0 &- condition.mask)
                    let changed = condition.mask == 0xffff_ffff ? 0x4000_0000 : bit
                    wrong.arguments[Int(condition.argument)] ^= changed
                    #expect(answer(filter, wrong) == trap, "\(call.name), argument \(condition.argument)")
                }
            }
        }
    }

    /// A kick reaches this process's threads alone.
    @Test func signalsStayInTheProcess() {
        for (role, opensFiles) in FilterTests.kinds {
            let filter = program(role, opensFiles)
            for (target, expected) in [(process, allow), (process + 1, trap), (1, trap)] {
                let call = Call(number: 234, arguments: [UInt64(target), 1, 35, 0, 0, 0])
                #expect(answer(filter, call) == expected, "\(role), \(target)")
            }
            #expect(!filter.contains { $0 >> 32 == AllowedCall.thisProcess })
        }
    }

    /// Calls of other modes of the processor have other numbers.
    @Test func endsWhoUsesAnotherMode() {
        for (role, opensFiles) in FilterTests.kinds {
            let filter = program(role, opensFiles)
            #expect(answer(filter, Call(number: 202, architecture: 0x4000_0003)) == killProcess)  // AUDIT_ARCH_I386
            #expect(answer(filter, Call(number: 202 | 0x4000_0000)) == killProcess)  // x32
        }
    }

    @Test func logsInsteadOfRefusing() {
        for (role, opensFiles) in FilterTests.kinds {
            let filter = program(role, opensFiles, logs: true)
            #expect(answer(filter, Call(number: 59)) == log)  // execve
            #expect(answer(filter, Call(number: 202)) == allow)  // futex
        }
    }

    /// The program's own number is the only thing that is filled in.
    @Test func isOtherwiseAsMade() {
        for (role, opensFiles) in FilterTests.kinds {
            let made = Filter.made(for: role, opensFiles: opensFiles)
            let complete = program(role, opensFiles)
            let places = made.indices.filter { made[$0] != complete[$0] }
            #expect(places.count == 1 && made[places[0]] >> 32 == AllowedCall.thisProcess)
        }
    }
}
