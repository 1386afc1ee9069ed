package fleet

import ()

// MemberBytes is the estimate of a device with one row, beside its texts.
const MemberBytes = bytesPerDevice + bytesPerRow

// Held is what the fleet holds in memory, of how much it may, in estimated bytes.
func (f *Fleet) Held() (size, limit int) { return f.size, f.limit }
