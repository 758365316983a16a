package appdef

// Parts that no AppDef reaches with every input.
var (
	ShellWord  = shellWord
	Expandable = expandable
	Closed     = closed
)
