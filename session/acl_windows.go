package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// SDDL returns the access list of every kernel object of this session: this user
// and SYSTEM may do everything, nobody else anything, and a process below medium
// integrity (a sandboxed browser tab of the same user) can neither write nor read.
func (s Session) SDDL() string {
	return s.sddl("", "GA")
}

func (s Session) sddl(inherit, rights string) string {
	return fmt.Sprintf("O:%[1]sG:%[1]sD:P(A;%[2]s;%[3]s;;;%[1]s)(A;%[2]s;%[3]s;;;SY)S:(ML;%[2]s;NWNRNX;;;ME)", s.user, inherit, rights)
}

// SecurityAttributes returns [Session.SDDL] in the form CreateX functions take. The
// handles made with it are not inherited. The result is garbage collected.
func (s Session) SecurityAttributes() (*windows.SecurityAttributes, error) {
	return Attributes(s.SDDL())
}

// Attributes is SecurityAttributes for an access list of the caller's.
func Attributes(sddl string) (*windows.SecurityAttributes, error) {
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return nil, fmt.Errorf("access list: %w", err)
	}
	// SAFETY: Sizeof reads no memory.
	size := uint32(unsafe.Sizeof(windows.SecurityAttributes{}))
	return &windows.SecurityAttributes{Length: size, SecurityDescriptor: sd}, nil
}

// VerifyObject fails with [ErrUnsafe] unless the kernel object behind handle
// belongs to this user: a name can be taken first by another user who runs a
// program in this logon session. The handle needs READ_CONTROL.
func (s Session) VerifyObject(handle windows.Handle, name string) error {
	sd, err := windows.GetSecurityInfo(handle, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("owner of %s: %w", name, err)
	}
	return s.verifyOwner(sd, name)
}

// verifyOwner accepts this user, and SYSTEM and the administrators, whose files
// Windows often makes in a user's place and who could take ownership anyway.
func (s Session) verifyOwner(sd *windows.SECURITY_DESCRIPTOR, name string) error {
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("owner of %s: %w", name, err)
	}
	if owner.String() == s.user || owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		return nil
	}
	return fmt.Errorf("%w: %s belongs to %s, not to %s", ErrUnsafe, name, account(owner), s.user)
}

func account(sid *windows.SID) string {
	name, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return sid.String()
	}
	return sid.String() + " (" + domain + `\` + name + ")"
}

// makePrivate makes dir for this user and SYSTEM alone, or verifies the owner of
// the one that is there (its list may be the profile's, which adds administrators).
func (s Session) makePrivate(dir string) error {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	sa, err := Attributes(s.sddl("OICI", "FA"))
	if err != nil {
		return err
	}
	err = windows.CreateDirectory(path, sa)
	if err == nil || !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return wrapPath("mkdir", dir, err)
	}
	return s.verifyPrivate(dir)
}

func (s Session) verifyPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is not a plain directory (%s); remove it", ErrUnsafe, dir, info.Mode())
	}
	sd, err := windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("owner of %s: %w", dir, err)
	}
	return s.verifyOwner(sd, dir)
}

func wrapPath(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
