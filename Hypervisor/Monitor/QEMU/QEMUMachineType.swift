// The machine types that vitrine-qemu offers: one for each layout, and one whose layout the kernel's command line names.

import Layouts

/// A machine type.
struct QEMUMachineType {
    /// The name in `-machine` and `<type machine='...'>`.
    let name: String
    /// The layout it stands for; nil: `layout=NAME` on the kernel's command line says it, else it is the first.
    let layout: String?

    /// Every machine type, the default first.
    static let all: [QEMUMachineType] =
        [QEMUMachineType(name: "vitrine", layout: nil)]
        + RunOptions.layouts.map { QEMUMachineType(name: "vitrine-\($0)", layout: $0) }
}
