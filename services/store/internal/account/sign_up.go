package account

import "time"

// SignUpRetention is for how long a sign-up can be sent again under its request id.
const SignUpRetention = 24 * time.Hour
