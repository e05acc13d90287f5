// The verbs that look into a guest.

/// The verbs that look into a guest, in the order of the help.
enum InspectionVerbs {
    static let all: [Verb] = [
        pages, diff, watch, saveTables, dump, search, translate, aliases, ept, map, audit, layouts, doctor,
    ]
}
