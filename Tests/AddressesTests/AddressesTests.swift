import Addresses
import Testing

@Suite struct AddressText {
    @Test(
        arguments: [
            ("0xffff800000200000", 0xffff_8000_0020_0000), ("200000", 0x20_0000),
            ("ffff_8000_0000_0000", 0xffff_8000_0000_0000),
            ("0XFF", 0xff), ("0", 0), ("ffffffffffffffff", UInt64.max),
        ] as [(String, UInt64)])
    func readsHexadecimal(text: String, value: UInt64) {
        #expect(GVA(parsing: text)?.rawValue == value)
    }

    @Test(arguments: ["", "0x", "x", "12g", "_1", "10000000000000000", "0x0x1", "-1", " 1"])
    func refusesWhatIsNoAddress(text: String) {
        #expect(GVA(parsing: text) == nil)
    }

    @Test(
        arguments: [
            ("4096", 4096), ("64M", 64 << 20), ("1G", 1 << 30), ("6g", 6 << 30), ("0x1000", 4096), ("2T", 2 << 40),
            ("3k", 3072),
        ] as [(String, UInt64)])
    func readsSizes(text: String, value: UInt64) {
        #expect(parseSize(text) == value)
    }

    @Test(arguments: ["", "M", "1.5G", "-1", "1GB", "99999999999999999999", "16777216T"])
    func refusesWhatIsNoSize(text: String) {
        #expect(parseSize(text) == nil)
    }

    @Test(arguments: [0, 1, 4096, 5000, 2 << 20, 6 << 30, 3 << 40] as [UInt64])
    func sizesReadBackAsWritten(bytes: UInt64) {
        #expect(parseSize(formatSize(bytes)) == bytes)
    }

    @Test func columnsAreSixteenDigits() {
        #expect(GPA(0x20_0000).hex16 == "0x0000000000200000")
        #expect(GPA(0x20_0000).hex == "0x200000")
    }
}

@Suite struct AddressArithmetic {
    @Test func advancingPastTheEndIsRefused() {
        #expect(GPA(UInt64.max).advanced(by: 1) == nil)
        #expect(GPA(0x1000).advanced(by: 0x1000) == GPA(0x2000))
    }

    @Test func alignment() {
        #expect(GVA(0x12_3456).alignedDown(to: 4096) == GVA(0x12_3000))
        #expect(GVA(0x20_0000).isAligned(to: 2 << 20))
        #expect(!GVA(0x20_1000).isAligned(to: 2 << 20))
    }
}
