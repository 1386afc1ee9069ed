package localapi

// maxSocketPath is the size of sun_path, its closing zero included.
const maxSocketPath = 108

// adminGroupID is empty: no group plays the Mac's admin group here, only the
// owner of the simulated Mac and root are admins.
const adminGroupID = ""

// adminGroupNumber is none: files for administrators keep their group.
const adminGroupNumber = -1
