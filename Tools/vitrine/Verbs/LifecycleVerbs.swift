// The verbs that start, steer and end guests.

/// The verbs that start, steer and end guests, in the order of the help.
enum LifecycleVerbs {
    static let all: [Verb] = []
}
