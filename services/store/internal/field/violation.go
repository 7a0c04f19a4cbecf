// Package field describes what is wrong with a field of a request, or of a line that is imported. It is the lowest
// layer of the store: package rpc makes a BadRequest of its violations, package transfer a line of the report.
package field

// Violation describes a rule that a field breaks. It never repeats the value of the field.
type Violation struct { //nolint:errname // the name that google.rpc.BadRequest has for it
	Field       string // as the contract names it, or as JSON does for a line that is imported
	Reason      string // for programs, in upper snake case; empty for a rule that only commands check
	Description string // for people; it continues the name of the field, as in "must not be empty"
}

// Error returns the field and the description.
func (v Violation) Error() string { return v.Field + " " + v.Description }
