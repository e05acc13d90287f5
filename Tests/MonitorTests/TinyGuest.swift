import Glibc
import SystemCalls

// A kernel of 436 bytes: says "hello" on COM1 and stages A, B, C, R, then echoes COM1 and obeys COM2 by the first letter
// of a line:
//
//     e  line=THE LINE, ok       x  error: no            s  no answer           f  bytes without end, never a line
//     w  20,000 w on COM1, ok    p  panics (0xbad)       o  powers off          r  resets
//     h  halts with interrupts off                       t  triple fault        q  100,000 program ends, ok
//     anything else: ok
//
// The power button (port 0x710) powers it off.

/// The ELF file of the tiny kernel.
enum TinyGuest {
    /// Machine code for 64-bit mode, position-independent, 256 bytes for a line behind it.
    private static let code = """
        baf8030000488d358b010000e86e010000ba00070000b041eeb042eeb043eeb052ee488d3d8c010000ba10070000ec3c010f8415
        010000bafd020000eca8017513bafd030000eca80174debaf8030000eceeebd5baf8020000ec3c0a7403aaebc8c60700baf80200
        008a05460100003c6574623c78744d3c7374a73c66747c3c700f84b90000003c6f0f84bd0000003c720f84bc0000003c680f84ba
        0000003c740f84b60000003c710f84b00000003c777468488d35e4000000e8c0000000e95effffff488d35d7000000e8af000000
        e94dffffff488d35d1000000e89e000000488d35cd000000e892000000488d35bf000000e886000000ebb8488d35b100000048ff
        c6b07abafd020000eca82074f6baf8020000b07aeeebecb9204e0000bafd030000eca82074f6baf8030000b077eeffc975eabaf8
        020000e973ffffffba04070000b8ad0b0000eff4ba01050000eef4b0fee664ebfafaf4ebfc0f0bba08070000b9a086010089c8c1
        e018b007efffc975f4baf8020000e934ffffffac84c0741288c383c205eca82074fb83ea0588d8eeebe9c368656c6c6f0a006f6b
        0a006572726f723a206e6f0a006c696e653d000a
        """

    /// The file, written once a process.
    static let path: String = {
        let path = "/tmp/vitrine-tiny-guest-\(getpid()).elf"
        if let file = try? FileDescriptor(open: path, O_WRONLY | O_CREAT | O_TRUNC) { try? file.writeAll(elf()) }
        return path
    }()

    private static func elf() -> [UInt8] {
        func u16(_ value: UInt16) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        func u32(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        func u64(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        let base: UInt64 = 0x20_0000
        let digits = code.utf8.filter { $0 != 10 }.map { $0 > 0x60 ? $0 - 0x57 : $0 - 0x30 }
        let bytes = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }

        // PML4, PDPT, PD: the first GiB one to one in 2 MiB pages; then the code.
        var image = u64(base + 0x1003) + [UInt8](repeating: 0, count: 4088)
        image += u64(base + 0x2003) + [UInt8](repeating: 0, count: 4088)
        for index in 0..<512 as Range<UInt64> { image += u64(index << 21 | 0x83) }
        image += bytes + [UInt8](repeating: 0, count: 512)

        let note = u32(8) + u32(16) + u32(1) + Array("Vitrine\0".utf8) + u64(base + 0x3000) + u64(base)
        var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        file += u16(2) + u16(62) + u32(1) + u64(base + 0x3000) + u64(64) + u64(0) + u32(0)
        file += u16(64) + u16(56) + u16(2) + u16(0) + u16(0) + u16(0)
        let size = UInt64(image.count)
        file += u32(1) + u32(7) + u64(4096) + u64(base) + u64(base) + u64(size) + u64(size) + u64(4096)
        let noteSize = UInt64(note.count)
        file += u32(4) + u32(4) + u64(0x200) + u64(0) + u64(0) + u64(noteSize) + u64(noteSize) + u64(4)
        file += [UInt8](repeating: 0, count: 0x200 - file.count) + note
        file += [UInt8](repeating: 0, count: 4096 - file.count) + image
        return file
    }
}
