package text

// Complaint is how each of our programs says what went wrong: one line with its
// name, and one with what to do, where there is something.
func Complaint(program string, err error, remedy string) string {
	said := program + ": " + DisplayError(err) + "\n"
	if remedy != "" {
		said += "  → " + DisplayValue(remedy) + "\n"
	}
	return said
}
