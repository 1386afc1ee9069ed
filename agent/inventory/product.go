package inventory

import (
	"context"
	"slices"
	"time"

	"prlagent/agent/protocol"
	"prlagent/platform"
	"prlagent/prlctl"
)

// lookAtProduct reads version and build from the application's bundle, which
// works while the service is down, and says whether its tools may be run.
func (s *survey) lookAtProduct(ctx context.Context) {
	if s.lookAtVersion(); !s.Product.Installed {
		return
	}
	if err := s.sources.Trusted(ctx); err != nil {
		s.log.Warn().Err(err).Msg("the vendor's tools are not run")
		s.refused = codeOf(err)
	}
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

// licensed is the answer of one user's tools about the license.
type licensed struct {
	license prlctl.License
	err     error
}

// readLicense asks the tools of one user, because root runs none of the
// vendor's programs.
func (s *survey) readLicense(ctx context.Context, all []attendance) {
	user, anybody := s.licenseUser(all)
	switch {
	case s.refused != "":
		s.lackProduct(s.refused, licenseColumns...)
		return
	case !anybody:
		s.lackProduct(protocol.CodeUserSession, licenseColumns...)
		return
	}
	answer, ended := s.askForLicense(ctx, user)
	if !ended {
		s.lackProduct(protocol.CodeUserLate, licenseColumns...)
		return
	}
	state, code := productState(answer.license, answer.err)
	if code != "" {
		s.log.Warn().Err(answer.err).Msg("read license")
		s.lackProduct(code, licenseColumns...)
		return
	}
	s.Product.State, s.Product.Edition, s.Product.License = state, answer.license.Edition, answer.license.Serial
}

// askForLicense asks in the user's lane, for as long as the look waits for
// anything of that user. An answer that nobody waited for is not worth keeping.
func (s *survey) askForLicense(ctx context.Context, user platform.User) (licensed, bool) {
	over := time.NewTimer(s.lanes.Patience(user.UID, s.patience))
	defer over.Stop()
	if s.licenses.Pending(user.Name) {
		if _, ended := s.licenses.Wait(ctx, user.Name, over.C); !ended {
			return licensed{}, false
		}
	}
	asking := s.visitOf(user)
	s.licenses.Start(user.Name, func() (answer licensed) {
		answer.err = asking.ask(ctx, func(session bool) (err error) {
			answer.license, err = asking.sources.Licensing(user, session).License(ctx)
			return err
		})
		return answer
	})
	return s.licenses.Wait(ctx, user.Name, over.C)
}

// productState maps a license to the guide's words (facts/prlctl.md 4.2). No
// answer of the service is not a deactivation; an answer without a license is.
func productState(license prlctl.License, err error) (string, protocol.Code) {
	switch {
	case protocol.CodeOf(err) == protocol.CodeLicenseUnreadable:
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
// Whose tools hang is asked only where nobody else can be.
func (s *survey) licenseUser(all []attendance) (platform.User, bool) {
	var chosen platform.User
	best := 0
	for _, attended := range all {
		user := attended.user
		rank := 0
		switch {
		case attended.account.unused:
			continue
		case user.Name == s.console.User:
			rank = 6
		case slices.Contains(s.console.Sessions, user.UID):
			rank = 5
		default:
			rank = 4
		}
		if attended.hangs() || s.lanes.Hanging(user.UID) {
			rank -= 3
		}
		if attended.account.outside {
			s.outside[user.UID] = true
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
