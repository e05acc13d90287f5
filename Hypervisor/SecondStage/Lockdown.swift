// Whether the kernel keeps its memory from everybody (kernel_lockdown(7)).

enum Lockdown {
    /// Whether it is locked down to confidentiality.
    static var isConfidential: Bool {
        ModuleParameter.value("/sys/kernel/security/lockdown").map(isConfidential) ?? false
    }

    /// The file marks the state that is in force: `none integrity [confidentiality]`.
    static func isConfidential(_ text: String) -> Bool { text.contains("[confidentiality]") }
}
