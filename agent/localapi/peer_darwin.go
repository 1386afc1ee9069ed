package localapi

// maxSocketPath is the size of sun_path, its closing zero included
// (facts/macos.md 14).
const maxSocketPath = 104

// adminGroupID is the gid of the group admin.
const adminGroupID = "80"

// adminGroupNumber owns files that administrators may read.
const adminGroupNumber = 80
