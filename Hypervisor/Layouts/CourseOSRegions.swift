// The layout courseos as the host's tools show it; the numbers are CourseOS.swift's.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        /// course_os.
        public static let courseos = Layout(
            name: "courseos", summary: "course_os: a teaching kernel, every address below 4 GiB",
            source: "rellermeyer/course_os at 6e79bbc: kernel/src/vm, kernel.ld",
            regions: [
                Region("process", first: 0, last: CourseOS.processEnd - 1, .paged, "the process"),
                Region(
                    "memory", first: CourseOS.offset, last: CourseOS.heapBase - 1, .linear,
                    "the first GiB of physical memory"),
                Region(
                    "heap, MMIO", first: CourseOS.heapBase, last: CourseOS.devicesEnd - 1, .paged,
                    "heap grows up, MMIO grows down"),
            ],
            softwareBits: osv.softwareBits, absentMask: osv.absentMask,
            facts: [
                LayoutFact(
                    "kernel", "PA \(GPA(CourseOS.kernelBase).hex) at \(GVA(CourseOS.offset + CourseOS.kernelBase).hex)"),
                LayoutFact(
                    "root", "PA \(GPA(CourseOS.root).hex), visible at \(GVA(CourseOS.offset + CourseOS.root).hex)"),
                LayoutFact("memory manager", "from the kernel's end, rounded up to 1 MiB"),
                LayoutFact("RAM", "at most 1 GiB is mapped; 2 MiB leaves, 4 KiB ones where it ends between"),
                LayoutFact("heap", "4 KiB leaves, NX, kernel RW; it is full where it meets the device registers"),
            ])
    }
#endif
