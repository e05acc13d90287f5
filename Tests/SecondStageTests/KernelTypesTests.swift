import Testing

@testable import SecondStage

@Suite struct KernelTypesTests {
}
