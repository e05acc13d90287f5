// PageTables
