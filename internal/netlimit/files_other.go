//go:build !unix

package netlimit

import "math"

// maxFiles returns how many files this process may have open.
func maxFiles() int { return math.MaxInt }
