package berth

// User is an account. Its API keys are kept by the store as hashes and are never part of it.
type User struct {
	// Name is what clients send as username: [A-Za-z0-9.], because job names and URLs of real clients carry it unescaped.
	Name string
	// Admin may see and control every job and manage images, machine types and users.
	Admin bool
	// Disabled users are refused like unknown ones.
	Disabled bool
	// Billing says that the account may submit jobs.
	Billing bool
}

// Caller is who asks. It is an argument of every use case and never travels in a context.
type Caller struct {
	User User
}

// MayControl says whether the caller may see and control a job of the owner.
func (c Caller) MayControl(owner string) bool {
	return c.User.Admin || c.User.Name == owner
}
