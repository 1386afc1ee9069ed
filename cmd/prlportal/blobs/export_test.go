package blobs

// Limited is New with another quota for all devices together.
func Limited(path string, most int64) *Folder { return &Folder{path: path, most: most} }
