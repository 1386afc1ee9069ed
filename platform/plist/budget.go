package plist

// budget counts what a property list costs before it is built. A bomb is
// stopped by the count, however long or short the counting takes.
type budget struct {
	nodes      int
	containers int
	expanded   int
}

// node counts one value or key.
func (b *budget) node() error {
	b.nodes++
	if b.nodes > maxNodes {
		return fail(CodeTooLarge, "more than %d values", maxNodes)
	}
	return nil
}

// container counts a dictionary or array that is the depth-th of its branch;
// the root is the first.
func (b *budget) container(depth int) error {
	if depth > maxDepth {
		return fail(CodeTooDeep, "more than %d levels", maxDepth)
	}
	b.containers++
	if b.containers > maxContainers {
		return fail(CodeTooLarge, "more than %d dictionaries and arrays", maxContainers)
	}
	return nil
}

// content counts the bytes of a string or of data.
func (b *budget) content(size int) error {
	b.expanded += size
	if b.expanded > maxExpanded {
		return fail(CodeTooLarge, "more than %d bytes of strings and data", maxExpanded)
	}
	return nil
}
