package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// wrapError converts an error of this package or of the file system to a *registry.Error that
// names the layout and, if an operation on a file failed, the file.
//
// Every failure of the file system except a missing file is ErrUnavailable. That includes a
// denied permission: ErrDenied would mean that the layout can be written but not read.
// Operations on a layout are not retried.
func (l *Layout) wrapError(err error) error {
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return l.fillError(e)
	}
	file, cause := failedFile(err)
	if errors.Is(cause, fs.ErrNotExist) {
		return l.fillError(&registry.Error{Kind: registry.ErrNotFound, Err: cause, Hint: hint})
	}
	e := &registry.Error{Kind: registry.ErrUnavailable, Err: cause, Hint: fileSystemHint(cause)}
	if file != "" && !filepath.IsAbs(file) {
		file = filepath.Join(l.path, filepath.FromSlash(file))
	}
	if file != "" && file != l.path { // Repository already names the layout
		e.Message = "file " + registry.Sanitize(file)
	}
	return l.fillError(e)
}

// failedFile splits an error of package os into its cause and the file that it names, if any.
func failedFile(err error) (file string, cause error) {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Path, e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.New, e.Err
	}
	return "", err
}

const (
	hintFull = "The disk is full, or a quota or a limit on the size of files is reached. Free space there, or put the layout on another disk, and run it again: " +
		"the files that are complete are not copied again."
	hintPermission = "The user that runs this is not allowed to do that on this machine. Check the owner and the mode of the file and of the folders above it."
	hintReadOnly   = "The file system is mounted read-only on this machine. Put the layout elsewhere, or mount it writable."
	hintInUse      = "Another program on this machine has the file open. Wait until it is done, or end it, and run it again."
	hintOpenFiles  = "Too many files are open on this machine. Raise the limit (ulimit -n), or run fewer copies at a time."
	hintDisk       = "The file system on this machine reports this, and no registry. Check the disk, or the network file system, that holds the layout."
)

// Windows error numbers that package syscall does not define. See
// https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-.
const (
	errWriteProtect     = syscall.Errno(19)
	errSharingViolation = syscall.Errno(32)
	errLockViolation    = syscall.Errno(33)
	errHandleDiskFull   = syscall.Errno(39)
	errDiskFull         = syscall.Errno(112)
)

// fileSystemHint returns advice about an error of the file system.
func fileSystemHint(cause error) string {
	is := func(windows []error, unix ...error) bool {
		if runtime.GOOS == "windows" {
			unix = windows
		}
		return slices.ContainsFunc(unix, func(known error) bool { return errors.Is(cause, known) })
	}
	switch {
	case is([]error{errDiskFull, errHandleDiskFull}, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG):
		return hintFull
	case is([]error{errWriteProtect}, syscall.EROFS):
		return hintReadOnly
	case is([]error{errSharingViolation, errLockViolation}, syscall.EBUSY, syscall.ETXTBSY):
		return hintInUse
	case errors.Is(cause, fs.ErrPermission):
		return hintPermission
	case is(nil, syscall.EMFILE, syscall.ENFILE):
		return hintOpenFiles
	case is(nil, syscall.ENOTDIR, syscall.EISDIR, syscall.EEXIST, syscall.ELOOP):
		return hint
	}
	if _, ok := errors.AsType[syscall.Errno](cause); ok {
		return hintDisk
	}
	return hint // not a file system error: something else is at the path of the file
}

// fillError returns a copy of e that names the layout and has an operation.
func (l *Layout) fillError(e *registry.Error) error {
	filled := *e
	if filled.Repository == "" {
		filled.Repository = registry.Sanitize(l.Name())
	}
	if filled.Op == "" {
		filled.Op = "open the image layout"
	}
	return &filled
}

// opError returns err as a *registry.Error with the given operation and reference.
func (l *Layout) opError(err error, op, reference string) error {
	e, ok := errors.AsType[*registry.Error](l.wrapError(err))
	if !ok {
		return err
	}
	filled := *e
	filled.Op, filled.Reference = op, registry.Sanitize(reference)
	return &filled
}

// contextError returns an error if ctx ended, and nil otherwise.
func (l *Layout) contextError(ctx context.Context, op, reference string) error {
	if ctx.Err() != nil {
		return l.opError(canceledError(ctx), op, reference)
	}
	return nil
}

// canceledError returns the error of an operation whose context ended.
func canceledError(ctx context.Context) error {
	return &registry.Error{Kind: registry.ErrUnavailable, Err: context.Cause(ctx)}
}

// fileError returns the error of a write to the file name. The error of the operating system
// names the temporary file instead, which has been removed by the time a user looks for it.
//
// A file that was removed during the write is not ErrNotFound, because callers interpret
// ErrNotFound as content that the layout does not have.
func fileError(op, name string, err error) error {
	if _, ok := errors.AsType[*registry.Error](err); ok {
		return err
	}
	_, cause := failedFile(err)
	if errors.Is(cause, fs.ErrNotExist) {
		return &registry.Error{Kind: registry.ErrUnavailable, Message: fmt.Sprintf("file %s was removed while it was written", registry.Sanitize(name)),
			Hint: "Another program removes files of the layout. Wait until it is done, or end it, and run it again."}
	}
	return &fs.PathError{Op: op, Path: name, Err: cause}
}
