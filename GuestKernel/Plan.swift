// Which layout this kernel was linked for: its numbers, and the code that only it has.

/// The numbers of the layout.
enum Plan {
    nonisolated(unsafe) static var current = KernelPlan.osv

    /// Takes the numbers of the layout that the image was linked for; false if they are not those that it was linked with.
    static func choose() -> Bool {
        let number = layout_number()
        if number != 0 {
            guard let name = KernelPlan.Name(rawValue: number) else { return false }
            current = KernelPlan.of(name)
        }
        return current.imageOffset == kernel_offset()
    }
}

/// What differs between layouts beyond numbers.
enum Layouts {
    /// Stage B: what the boot tables need so that physical memory is reached where the layout has it.
    static func buildTemporaryTables() {
        switch Plan.current.name {
        case .osv, .osc, .oscInitial: OSvLayout.buildTemporaryTables()
        case .linux: LinuxLayout.buildTemporaryTables()
        case .panda: PandaLayout.buildTemporaryTables()
        case .resea, .courseos: break  // the boot tables have the window
        }
    }

    /// After stage C: devices, where they are mapped when they are needed.
    static func mapDevices() throws(MemoryError) {
        if Plan.current.name == .panda { try PandaLayout.mapDevices() }
    }

    /// Stage C: the runtime tables, up to the switch of the root; their root.
    static func buildRuntimeTables(memory: borrowing MemoryMap, kernelEnd: UInt64) throws(MemoryError) -> UInt64 {
        switch Plan.current.name {
        case .osv, .osc, .oscInitial:
            return try OSvLayout.buildRuntimeTables(memory: memory, kernelEnd: kernelEnd)
        case .linux: return try LinuxLayout.buildRuntimeTables(memory: memory, kernelEnd: kernelEnd)
        case .panda: return try PandaLayout.buildRuntimeTables(memory: memory, kernelEnd: kernelEnd)
        case .resea: return try ReseaLayout.buildRuntimeTables()
        case .courseos: return try CourseOSLayout.buildRuntimeTables(memory: memory)
        }
    }

    /// What of the tables has to wait until pages are managed.
    static func finishTables() throws(MemoryError) {
        if Plan.current.name == .courseos { try CourseOSLayout.finishTables() }
    }

    /// Gives a new root the kernel's part of the address space: the upper half, where it is that. Locked.
    static func shareKernel(with root: UInt64) throws(MemoryError) {
        if Plan.current.name == .courseos { return try CourseOSLayout.shareKernel(with: root) }
        copy_words(PageTable.linear(root) &+ 2048, PageTable.linear(Spaces.kernel.pointee.root) &+ 2048, 256)
        if Plan.current.name == .panda { PandaLayout.own(root) }
    }

    /// Takes the kernel's part out of a root that has nothing else any more. Locked.
    static func takeKernel(from root: UInt64) {
        if Plan.current.name == .courseos { return CourseOSLayout.takeKernel(from: root) }
        clear_words(PageTable.linear(root) &+ 2048, 256)
    }
}

/// Rules of the audit that this kernel breaks on purpose: `break=RULE` on the command line, RULE as `vitrine audit --json`
/// has it in `id`, or several with commas between them. What breaks a rule stands where the rule is kept.
enum Break {
    private static var limit: Int { 1024 }
    nonisolated(unsafe) private static var rule = InlineArray<1024, UInt8>(repeating: 0)
    nonisolated(unsafe) private(set) static var count = 0

    /// Whether any rule is to be broken.
    @inline(__always) static var isAny: Bool { count != 0 }

    /// Reads the command line, in stage A: what it says is copied, for it lies elsewhere later.
    static func start() {
        guard let text = CommandLine.value("break=") else { return }
        while count < limit, text[count] != 0, text[count] != 0x20 {
            rule[count] = UInt8(bitPattern: text[count])
            count &+= 1
        }
    }

    /// Whether this rule is to be broken.
    @inline(__always) static func at(_ name: StaticString) -> Bool { count != 0 && matches(name) }

    /// For the rules `malloc-SIZE`: another area than the right one.
    static func area(for size: UInt64) -> OSv.Area? {
        if size == 65536 && at("allocation") { return .debug }
        if size == 64 && at("malloc-64") || size == 4096 && at("malloc-4096") { return .main }
        return size == 65536 && at("malloc-65536") ? .debug : nil
    }

    @inline(never) private static func matches(_ name: StaticString) -> Bool {
        let size = name.utf8CodeUnitCount
        var start = 0
        while start &+ size <= count {
            if (start &+ size == count || rule[start &+ size] == 0x2c) && hasPrefix(name, at: start) { return true }
            while start < count && rule[start] != 0x2c { start &+= 1 }
            start &+= 1
        }
        return false
    }

    /// Whether the rule has this text from a place on.
    static func hasPrefix(_ text: StaticString, at start: Int) -> Bool {
        guard start &+ text.utf8CodeUnitCount <= count else { return false }
        var index = 0
        while index < text.utf8CodeUnitCount {
            if rule[start &+ index] != text.utf8Start[index] { return false }
            index &+= 1
        }
        return true
    }
}
