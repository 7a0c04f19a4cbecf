package netlimit

// reservedFiles are for all that a process opens beside the connections of clients: connections to other services and
// databases, listeners, and connections that are closed at once.
const reservedFiles = 256

// FitFiles returns limits whose totals, for this number of listeners, fit in the number of files that the process may
// have open. If accept fails for lack of files, no client is served. A client's share is at most a quarter of the
// total.
func (l Limits) FitFiles(listeners int) Limits { return l.fit(maxFiles(), listeners) }

func (l Limits) fit(files, listeners int) Limits {
	l.Total = min(l.Total, max(1, (files-reservedFiles)/listeners))
	l.PerClient = min(l.PerClient, max(1, l.Total/4))
	return l
}
