// What a layout is to the host's tools: regions with names, and how software bits are read. Data, one value a layout.

#if !hasFeature(Embedded)
    import Addresses

    /// A range of virtual addresses with a name.
    public struct Region: Sendable, Hashable {
        /// How virtual addresses of a region become physical ones.
        public enum Mapping: Sendable, Hashable {
            /// GPA = VA.
            case identity
            /// GPA = VA - the region's first address.
            case linear
            /// As the tables say, page by page.
            case paged
        }

        /// The name: `Core`, `main`, `program 0`.
        public let name: String
        /// The first virtual address.
        public let first: GVA
        /// The last virtual address.
        public let last: GVA
        /// How it is mapped.
        public let mapping: Mapping
        /// What it is for, in a few words.
        public let purpose: String

        /// A region.
        public init(_ name: String, first: UInt64, last: UInt64, _ mapping: Mapping, _ purpose: String) {
            self.name = name
            self.first = GVA(first)
            self.last = GVA(last)
            self.mapping = mapping
            self.purpose = purpose
        }

        /// Bytes of virtual addresses.
        public var size: UInt64 { (last &- first) &+ 1 }
        /// Whether an address lies in the region.
        public func contains(_ address: GVA) -> Bool { first <= address && address <= last }
    }

    /// A software or reserved bit that means something in a layout.
    public struct SoftwareBit: Sendable, Hashable {
        /// What an entry must have, and not have, to mean it.
        public let mask: UInt64
        /// The value of those bits.
        public let value: UInt64
        /// What it means: `prot-none`, `cow`.
        public let name: String
        /// What it looks like, in words.
        public let form: String

        /// A meaning.
        public init(mask: UInt64, value: UInt64, name: String, form: String) {
            self.mask = mask
            self.value = value
            self.name = name
            self.form = form
        }
    }

    /// A fact of a layout that is a number, for the table of `vitrine layouts`.
    public struct LayoutFact: Sendable, Hashable {
        /// What it is.
        public let name: String
        /// Its value, as people read it.
        public let value: String

        /// A fact.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// A memory layout.
    public struct Layout: Sendable, Hashable {
        /// The name on the command line: `osv`.
        public let name: String
        /// What it is, in one line.
        public let summary: String
        /// Where the constants come from.
        public let source: String
        /// The regions, by ascending address, none overlapping another.
        public let regions: [Region]
        /// What software bits mean.
        public let softwareBits: [SoftwareBit]
        /// Bits that a not-present entry may carry and that then mean something.
        public let absentMask: UInt64
        /// Further numbers.
        public let facts: [LayoutFact]

        /// A layout.
        public init(
            name: String, summary: String, source: String, regions: [Region], softwareBits: [SoftwareBit],
            absentMask: UInt64, facts: [LayoutFact]
        ) {
            self.name = name
            self.summary = summary
            self.source = source
            self.regions = regions.sorted { $0.first < $1.first }
            self.softwareBits = softwareBits
            self.absentMask = absentMask
            self.facts = facts
        }

        /// Every layout there is, the default first.
        public static let all: [Layout] = [.osv, .osc, .oscInitial, .linux, .resea, .courseos, .panda]

        /// The layout of this name, or nil.
        public static func named(_ name: String) -> Layout? { all.first { $0.name == name } }

        /// The index of the region that holds an address, or nil.
        public func regionIndex(of address: GVA) -> Int? {
            var low = 0
            var high = regions.count
            while low < high {
                let middle = (low + high) / 2
                if regions[middle].first <= address { low = middle + 1 } else { high = middle }
            }
            guard low > 0, regions[low - 1].contains(address) else { return nil }
            return low - 1
        }

        /// The region that holds an address, or nil.
        public func region(of address: GVA) -> Region? { regionIndex(of: address).map { regions[$0] } }

        /// The first region after an address that begins above it, or nil.
        public func region(after address: GVA) -> Region? { regions.first { $0.first > address } }

        /// What an entry's software bits mean, or nil if nothing.
        public func meaning(of bits: UInt64) -> SoftwareBit? { softwareBits.first { bits & $0.mask == $0.value } }
    }
#endif
