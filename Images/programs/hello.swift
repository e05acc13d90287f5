// Prints where it runs and its argument, and exits with status 0.

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    Line.print(system) { line in
        line.add("hello: from ring ")
        line.add(system.isUser ? 3 : 0)
        line.add(", argument \"")
        line.add(text: argument)
        line.add("\"")
    }
    return 0
}
