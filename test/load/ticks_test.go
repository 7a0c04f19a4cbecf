package load

import (
	"os"
	"strconv"
	"strings"
)

// ticks is where the time of all cores went since the machine was started.
type ticks struct{ all, stolen float64 }

// readTicks reads the first line of /proc/stat (proc_stat(5)). Where there is none, nothing is known to be stolen.
func readTicks() ticks {
	const first, stolen, end = 1, 8, 9 // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	var read ticks
	for i := first; i < min(end, len(fields)); i++ {
		spent, _ := strconv.ParseFloat(fields[i], 64)
		read.all += spent
		if i == stolen {
			read.stolen = spent
		}
	}
	return read
}

// stolenSince returns the part of the time that a hypervisor gave to others.
func (t ticks) stolenSince(before ticks) float64 {
	if t.all == before.all {
		return 0
	}
	return (t.stolen - before.stolen) / (t.all - before.all)
}
