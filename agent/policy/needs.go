package policy

import "prlagent/prlctl"

// ReadsFile reports whether the policy has a setting that only config.pvs of this
// machine shows. Which of the two scopes the machine is in is not asked: it may
// be adopted at any time.
func (d *Document) ReadsFile(vm *prlctl.VM) bool {
	var values []string // of the machine, once one of them is needed
	for _, scope := range []*Scope{&d.VMSettings.GoldenImage, &d.VMSettings.Other} {
		for name := range scope.Settings {
			setting := Find(name)
			for i := range setting.Parts {
				part := &setting.Parts[i]
				if part.File == nil {
					continue
				}
				if values == nil {
					values = catalogue.paths.Read(vm, nil)
				}
				if described(values, part.slots()) == "" {
					return true
				}
			}
		}
	}
	return false
}

// ManagesVMs reports whether the policy has a setting of virtual machines.
func (d *Document) ManagesVMs() bool {
	for _, scope := range []*Scope{&d.VMSettings.GoldenImage, &d.VMSettings.Other} {
		if len(scope.Settings)+len(scope.Unknown) > 0 {
			return true
		}
	}
	return false
}
