package tree

import "prlagent/agent/policy"

// checkProduct says what a policy asks for in vain, or likely not as it is meant, of
// the preferences of Parallels Desktop.
func (r *reader) checkProduct(p *Policy) {
	product := &p.Document.Product
	for _, name := range product.Unknown {
		path := policy.ProductPath + name
		r.fail(ruleUnknownSetting, p.sources.find(path), path, "there is no preference %s%s", name, meant(name, preferenceNames()))
	}
	const download = policy.ProductPath + "download_updates"
	if p.Document.HasUpdateServer() && product.Preferences["download_updates"] == policy.False {
		r.fail(ruleUpdateServer, p.sources.find(download), download,
			"with an update server of your own, updates should be downloaded by themselves: with false, users are only notified")
	}
}

func preferenceNames() []string {
	names := make([]string, len(policy.Preferences))
	for i := range policy.Preferences {
		names[i] = policy.Preferences[i].Name
	}
	return names
}
