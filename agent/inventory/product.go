package inventory

import (
	"context"
	"errors"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// lookAtProduct reads version and build from the application's bundle, which
// works while the service is down, and the license through one user's tools:
// root runs none of the vendor's programs.
func (s *survey) lookAtProduct(ctx context.Context) {
	if s.lookAtVersion(); !s.Product.Installed {
		return
	}
	if err := s.sources.Trusted(ctx); err != nil {
		s.log.Warn().Err(err).Msg("the vendor's tools are not run")
		s.refused = codeOf(err)
	}
	s.readLicense(ctx)
}

func (s *survey) lookAtVersion() {
	version, build, err := s.sources.AppVersion()
	if isAbsent(err) {
		s.refused = protocol.CodePDNotInstalled
		s.lackProduct(s.refused, append([]string{"pd_version"}, licenseColumns...)...)
		return
	}
	s.Product.Installed = true
	if err != nil {
		s.log.Warn().Err(err).Msg("the application's version is not readable")
		s.lackProduct(protocol.CodeNotReadable, "pd_version")
	}
	s.Product.Version, s.Product.Build = version, build
}

// licenseColumns are those that follow from the license.
var licenseColumns = []string{"pd_state", "vm_status"}

func (s *survey) readLicense(ctx context.Context) {
	user, anybody := s.licenseUser()
	switch {
	case s.refused != "":
		s.lackProduct(s.refused, licenseColumns...)
		return
	case !anybody:
		s.lackProduct(protocol.CodeUserSession, licenseColumns...)
		return
	}
	var license prlctl.License
	err := s.ask(user, func(session bool) (err error) {
		license, err = s.sources.Licensing(user, session).License(ctx)
		return err
	})
	state, code := productState(license, err)
	if code != "" {
		s.log.Warn().Err(err).Msg("read license")
		s.lackProduct(code, licenseColumns...)
		return
	}
	s.Product.State, s.Product.Edition, s.Product.License = state, license.Edition, license.Serial
}

// productState maps a license to the guide's words (facts/prlctl.md 4.2). No
// answer of the service is not a deactivation; an answer without a license is.
func productState(license prlctl.License, err error) (string, protocol.Code) {
	var failure *prlctl.Error
	switch {
	case errors.As(err, &failure) && failure.Code == prlctl.CodeLicenseUnreadable:
		return protocol.ProductDeactivated, ""
	case err != nil:
		return "", codeOf(err)
	case license.Status != "ACTIVE":
		return protocol.ProductDeactivated, ""
	case license.ActivationType == "SSO":
		return protocol.ProductSSO, ""
	}
	return protocol.ProductKey, ""
}

// licenseUser is whose tools answer for the whole Mac: the one at the screen,
// else anyone with a session, else the first account that uses the product.
func (s *survey) licenseUser() (platform.User, bool) {
	var chosen platform.User
	best := 0
	for _, user := range s.users {
		rank := 0
		switch {
		case user.Name == s.console.User:
			rank = 3
		case s.inSession(user):
			rank = 2
		case s.usesParallels(user):
			rank = 1
		}
		if rank > best {
			chosen, best = user, rank
		}
	}
	return chosen, best > 0
}

func (s *survey) lackProduct(code protocol.Code, columns ...string) {
	s.lack(code, "product")
	if s.Product.Gaps == nil {
		s.Product.Gaps = make(map[string]protocol.Code)
	}
	for _, column := range columns {
		s.Product.Gaps[column] = code
	}
}
