// Every verb, in the order of the help.

/// Every verb of `vitrine`.
let allVerbs: [Verb] = LifecycleVerbs.all + DomainVerbs.all + InspectionVerbs.all + InstallVerbs.all
