package onceredis

// CheckVersion checks only the version in what INFO says.
func CheckVersion(info string) error {
	s := server{master: true, policy: "noeviction"}
	s.engine, s.major, s.minor = version(parseInfo(info))
	return s.check(Single)
}

var (
	KeyName   = keyName
	ParseName = parseName
	Pattern   = pattern
)

// Texts returns the scripts as they are sent.
func Texts() []string {
	x := newScripts(false, true)
	return []string{
		x.claim.text, x.renew.text, x.complete.text, x.release.text, x.forget.text, x.load.text, x.wait.text,
	}
}
