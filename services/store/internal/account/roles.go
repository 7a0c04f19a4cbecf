package account

// The roles of users, as access tokens and the contract name them.
const (
	RoleAdmin = "admin"
	RoleUser  = "user"
)

// Roles returns the roles of the user.
func (u User) Roles() []string { return Roles(u.Admin) }

// Roles returns the roles of a user who is an admin, or of one who is not.
func Roles(admin bool) []string {
	if admin {
		return []string{RoleAdmin, RoleUser}
	}
	return []string{RoleUser}
}
