import FuzzTargets

/// The target of this run: libFuzzer's function takes nothing but the input.
nonisolated(unsafe) var chosen = FuzzTarget.json
