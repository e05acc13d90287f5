// Reading and writing a vCPU's registers.

import CSystem
import SystemCalls

extension Segment {
    init(_ segment: kvm_segment) {
        base = segment.base
        limit = segment.limit
        selector = segment.selector
        type = segment.type
        privilege = segment.dpl
        present = segment.present != 0
        big = segment.db != 0
        codeOrData = segment.s != 0
        long = segment.l != 0
        granular = segment.g != 0
        available = segment.avl != 0
        unusable = segment.unusable != 0
    }

    var raw: kvm_segment {
        var segment = kvm_segment()
        segment.base = base
        segment.limit = limit
        segment.selector = selector
        segment.type = type
        segment.dpl = privilege
        segment.present = present ? 1 : 0
        segment.db = big ? 1 : 0
        segment.s = codeOrData ? 1 : 0
        segment.l = long ? 1 : 0
        segment.g = granular ? 1 : 0
        segment.avl = available ? 1 : 0
        segment.unusable = unusable ? 1 : 0
        return segment
    }
}

extension VCPU {
    /// IA32_PAT and IA32_KERNEL_GS_BASE (Intel SDM volume 4, table 2-2).
    private static var pat: UInt32 { 0x277 }
    private static var kernelGSBase: UInt32 { 0xc000_0102 }

    /// The registers. MAXPHYADDR is left 0: it is not the vCPU's to say.
    public func registers() throws(KVMError) -> VCPURegisters {
        var regs = kvm_regs()
        var sregs = kvm_sregs()
        do {
            try descriptor.control(csystem_KVM_GET_REGS, &regs, name: "KVM_GET_REGS")
            try descriptor.control(csystem_KVM_GET_SREGS, &sregs, name: "KVM_GET_SREGS")
        } catch { throw .call(error) }
        var r = VCPURegisters()
        r.rax = regs.rax
        r.rbx = regs.rbx
        r.rcx = regs.rcx
        r.rdx = regs.rdx
        r.rsi = regs.rsi
        r.rdi = regs.rdi
        r.rsp = regs.rsp
        r.rbp = regs.rbp
        r.r8 = regs.r8
        r.r9 = regs.r9
        r.r10 = regs.r10
        r.r11 = regs.r11
        r.r12 = regs.r12
        r.r13 = regs.r13
        r.r14 = regs.r14
        r.r15 = regs.r15
        r.rip = regs.rip
        r.rflags = regs.rflags
        r.cs = Segment(sregs.cs)
        r.ds = Segment(sregs.ds)
        r.es = Segment(sregs.es)
        r.fs = Segment(sregs.fs)
        r.gs = Segment(sregs.gs)
        r.ss = Segment(sregs.ss)
        r.tr = Segment(sregs.tr)
        r.ldt = Segment(sregs.ldt)
        r.gdt = DescriptorTable(base: sregs.gdt.base, limit: sregs.gdt.limit)
        r.idt = DescriptorTable(base: sregs.idt.base, limit: sregs.idt.limit)
        r.cr0 = sregs.cr0
        r.cr2 = sregs.cr2
        r.cr3 = sregs.cr3
        r.cr4 = sregs.cr4
        r.cr8 = sregs.cr8
        r.efer = sregs.efer
        r.apicBase = sregs.apic_base
        r.pat = (try? readMSR(VCPU.pat)) ?? 0
        r.kernelGSBase = (try? readMSR(VCPU.kernelGSBase)) ?? 0
        return r
    }

    /// Writes the general-purpose registers, RIP and RFLAGS. Guest debugging comes after this (`setGuestDebug`).
    public func setGeneralRegisters(_ r: VCPURegisters) throws(KVMError) {
        var regs = kvm_regs()
        regs.rax = r.rax
        regs.rbx = r.rbx
        regs.rcx = r.rcx
        regs.rdx = r.rdx
        regs.rsi = r.rsi
        regs.rdi = r.rdi
        regs.rsp = r.rsp
        regs.rbp = r.rbp
        regs.r8 = r.r8
        regs.r9 = r.r9
        regs.r10 = r.r10
        regs.r11 = r.r11
        regs.r12 = r.r12
        regs.r13 = r.r13
        regs.r14 = r.r14
        regs.r15 = r.r15
        regs.rip = r.rip
        regs.rflags = r.rflags
        do { try descriptor.control(csystem_KVM_SET_REGS, &regs, name: "KVM_SET_REGS") } catch { throw .call(error) }
    }

    /// Writes segments, descriptor tables, control registers, EFER and APIC base. Pending interrupts are dropped.
    public func setSystemRegisters(_ r: VCPURegisters) throws(KVMError) {
        var sregs = kvm_sregs()
        sregs.cs = r.cs.raw
        sregs.ds = r.ds.raw
        sregs.es = r.es.raw
        sregs.fs = r.fs.raw
        sregs.gs = r.gs.raw
        sregs.ss = r.ss.raw
        sregs.tr = r.tr.raw
        sregs.ldt = r.ldt.raw
        sregs.gdt.base = r.gdt.base
        sregs.gdt.limit = r.gdt.limit
        sregs.idt.base = r.idt.base
        sregs.idt.limit = r.idt.limit
        sregs.cr0 = r.cr0
        sregs.cr2 = r.cr2
        sregs.cr3 = r.cr3
        sregs.cr4 = r.cr4
        sregs.cr8 = r.cr8
        sregs.efer = r.efer
        sregs.apic_base = r.apicBase
        do { try descriptor.control(csystem_KVM_SET_SREGS, &sregs, name: "KVM_SET_SREGS") } catch {
            throw .call(error)
        }
    }

    /// Reads a model-specific register (KVM_GET_MSRS).
    public func readMSR(_ index: UInt32) throws(KVMError) -> UInt64 {
        var request = csystem_one_msr()
        request.count = 1
        request.entry.index = index
        let name = "KVM_GET_MSRS 0x\(String(index, radix: 16))"
        do throws(Errno) {
            guard try descriptor.control(csystem_KVM_GET_MSRS, &request, name: name) == 1 else {
                throw Errno(22, name)
            }
        } catch { throw .call(error) }
        return request.entry.data
    }

    /// Writes a model-specific register (KVM_SET_MSRS).
    public func writeMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) {
        var request = csystem_one_msr()
        request.count = 1
        request.entry.index = index
        request.entry.data = value
        let name = "KVM_SET_MSRS 0x\(String(index, radix: 16))"
        do throws(Errno) {
            guard try descriptor.control(csystem_KVM_SET_MSRS, &request, name: name) == 1 else {
                throw Errno(22, name)
            }
        } catch { throw .call(error) }
    }

    /// Sets what CPUID answers (KVM_SET_CPUID2). Before the first run.
    public func setCPUID(_ table: CPUID) throws(KVMError) {
        let raw = UnsafeMutablePointer<csystem_cpuid>.allocate(capacity: 1)
        defer { raw.deallocate() }
        raw.pointee.count = UInt32(min(256, table.entries.count))
        raw.pointee.padding = 0
        withUnsafeMutableBytes(of: &raw.pointee.entries) { bytes in
            table.entries.prefix(256).withUnsafeBytes { bytes.copyMemory(from: $0) }
        }
        do { try descriptor.controlPointer(csystem_KVM_SET_CPUID2, raw, name: "KVM_SET_CPUID2") } catch {
            throw .call(error)
        }
    }

    /// Translates a linear address as the vCPU would (KVM_TRANSLATE); nil if KVM says it is not mapped.
    public func translate(_ linearAddress: UInt64) throws(KVMError) -> KVMTranslation? {
        var request = kvm_translation()
        request.linear_address = linearAddress
        do { try descriptor.control(csystem_KVM_TRANSLATE, &request, name: "KVM_TRANSLATE") } catch {
            throw .call(error)
        }
        guard request.valid != 0 else { return nil }
        return KVMTranslation(
            gpa: request.physical_address, writable: request.writeable != 0, user: request.usermode != 0)
    }
}
