// Programs whose ELF headers lie, all in one boot: the kernel refuses each, and what comes after them runs.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct HostilePrograms {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// A program with some bytes of its headers changed. Offsets are those of the ELF-64 object file format, "ELF Header" and
    /// "Program Header".
    struct Liar: Sendable {
        let name: String
        let change: @Sendable (inout Data) -> Void

        /// Changes 8 bytes of every program header of this type, at this offset in it.
        static func headers(_ type: UInt8, _ offset: Int, _ value: UInt64) -> @Sendable (inout Data) -> Void {
            { data in
                for header in 0..<Int(data[56]) where data[64 + 56 * header] == type {
                    Self.set(&data, 64 + 56 * header + offset, value)
                }
            }
        }

        static func set(_ data: inout Data, _ offset: Int, _ value: UInt64) {
            data.replaceSubrange(offset..<offset + 8, with: withUnsafeBytes(of: value.littleEndian) { Data($0) })
        }

        static let load: UInt8 = 1
        static let dynamic: UInt8 = 2

        static let all = [
            Liar(name: "cut-in-ident") { $0 = $0.prefix(20) },
            Liar(name: "cut-in-header") { $0 = $0.prefix(63) },
            Liar(name: "cut-in-program-headers") { $0 = $0.prefix(100) },
            Liar(name: "headers-on-themselves") { set(&$0, 32, 0) },
            Liar(name: "headers-past-the-end") { set(&$0, 32, .max - 15) },
            Liar(name: "headers-far-away") { set(&$0, 32, 1 << 62) },
            Liar(name: "headers-without-end") {
                $0[56] = 0xff; $0[57] = 0xff
            },
            Liar(name: "headers-of-no-size") { $0[54] = 0 },
            Liar(name: "headers-of-one-byte") { $0[54] = 1 },
            Liar(name: "segments-overlap", change: headers(load, 16, 0)),
            Liar(name: "segments-of-the-kernel", change: headers(load, 16, 0xffff_8000_0020_0000)),
            Liar(name: "segments-without-end", change: headers(load, 40, .max)),
            Liar(name: "segments-over-the-end", change: headers(load, 16, .max - 4095)),
            Liar(name: "segments-past-the-file", change: headers(load, 8, .max - 0xfff)),
            Liar(name: "more-file-than-memory", change: headers(load, 32, 1 << 33)),
            Liar(name: "entry-nowhere") { set(&$0, 24, .max) },
            Liar(name: "entry-in-the-kernel") { set(&$0, 24, 0x20_0000) },
            Liar(name: "dynamic-past-the-end", change: headers(dynamic, 8, .max - 7)),
            Liar(name: "dynamic-without-end", change: headers(dynamic, 32, .max)),
            Liar(name: "ones-behind-the-ident") { $0.replaceSubrange(16..<64, with: Data(repeating: 0xff, count: 48)) },
        ]
    }

    @Test func liarsAreRefused() throws {
        let good = try Data(contentsOf: URL(fileURLWithPath: bench.compile("plain", ["-mgeneral-regs-only"])))
        var files: [String] = []
        for liar in Liar.all {
            var data = good
            liar.change(&data)
            #expect(data != good, "\(liar.name) changes nothing")
            let url = bench.runtime.appending(path: liar.name)
            try data.write(to: url)
            files.append(url.path)
        }
        let console = try bench.startPrograms("a", files + [guestProgram("hello")])
        let ends = try bench.exec("a", "programs")
        for (number, liar) in Liar.all.enumerated() {
            let line = ends.first { $0["program"] == "\(number)" }
            #expect(line?["state"] == "refused", "\(liar.name): \(line ?? [:])")
        }
        #expect(try bench.ended("a", program: Liar.all.count)["status"] == "0")
        let printed = try String(contentsOf: console, encoding: .utf8)
        // The same by `exec`: a reason each time.
        for number in Liar.all.indices {
            let again = try bench.vitrine("exec", "a", "load \(number)")
            #expect(again.status == 1 && !again.errors.isEmpty, "\(Liar.all[number].name): \(again.output)")
        }
        #expect(printed.contains("refused") || printed.contains("ELF"), "\(printed)")
        #expect(try bench.exec("a", "stage") == [["stage": "R"]])
    }
}
