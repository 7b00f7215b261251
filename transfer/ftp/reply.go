package ftp

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"berth/transfer"
)

// Bounds of what a server may answer: a hostile one must not fill our memory.
const (
	maxLine  = 8 << 10
	maxLines = 1000
)

// reply is one answer of a server. Lines hold what follows the code.
type reply struct {
	code  int
	lines []string
}

func (r reply) text() string { return strings.Join(r.lines, " ") }

// readReply reads one answer, of several lines or one (RFC 959, 4.2).
func readReply(r *bufio.Reader) (reply, error) {
	line, err := readLine(r)
	if err != nil {
		return reply{}, err
	}
	code, rest, more, err := splitReply(line)
	if err != nil {
		return reply{}, err
	}
	a := reply{code, []string{rest}}
	for more {
		if len(a.lines) == maxLines {
			return reply{}, fmt.Errorf("the ftp server's answer %d has more than %d lines", code, maxLines)
		}
		if line, err = readLine(r); err != nil {
			return reply{}, err
		}
		text := line
		if c, rest, dash, err := splitReply(line); err == nil && c == code {
			text, more = rest, dash
		}
		a.lines = append(a.lines, text)
	}
	return a, nil
}

// readLine answers one line without its end.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errors.New("the ftp server sends a line without an end")
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// splitReply takes "226 text" and "226-text" apart; more says that lines follow.
func splitReply(line string) (code int, text string, more bool, err error) {
	if len(line) >= 3 {
		if code, err = strconv.Atoi(line[:3]); err == nil && code >= 100 && code <= 599 {
			switch {
			case len(line) == 3:
				return code, "", false, nil
			case line[3] == ' ':
				return code, line[4:], false, nil
			case line[3] == '-':
				return code, line[4:], true, nil
			}
		}
	}
	return 0, "", false, fmt.Errorf("the server doesn't speak ftp: %.60q", line)
}

// replyError is an answer that refuses.
type replyError struct {
	what string
	reply
}

func (e *replyError) Error() string {
	return fmt.Sprintf("ftp server could not %s: %d %s", e.what, e.code, printable(e.text()))
}

// Unwrap gives the class. 4xx may pass; most of 5xx won't.
func (e *replyError) Unwrap() error {
	switch {
	case e.code == 530 || e.code == 532 || e.code == 430 || e.code == 332:
		return transfer.ErrUnauthorized
	case e.code == 500 && strings.HasPrefix(e.text(), "OOPS"):
		return nil // vsftpd's own trouble, such as no free port
	case e.code >= 500:
		return transfer.ErrPermanent
	}
	return nil
}

// printable makes a server's words fit for a person: no control characters, not
// too long.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}

// is reports whether err is an answer with one of the codes.
func is(err error, codes ...int) bool {
	var e *replyError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.code == c {
			return true
		}
	}
	return false
}

// parseSize reads the answer to SIZE: digits, spaces around them at most.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("the ftp server answered the size %.40q, which is no number", s)
	}
	return int64(n), nil
}

// parsePWD reads the directory of "257 "/home/me" is the current directory".
// Quotes within are doubled (RFC 959, appendix II).
func parsePWD(s string) (string, error) {
	_, s, ok := strings.Cut(s, `"`)
	var dir strings.Builder
	for ok {
		var part string
		if part, s, ok = strings.Cut(s, `"`); !ok {
			break
		}
		dir.WriteString(part)
		if !strings.HasPrefix(s, `"`) {
			if d := dir.String(); strings.HasPrefix(d, "/") && !strings.ContainsAny(d, "\r\n\x00") {
				return d, nil
			}
			break
		}
		dir.WriteByte('"')
		s = s[1:]
	}
	return "", fmt.Errorf("the ftp server doesn't say which directory it starts in")
}

// parseEPSV reads the port of "229 … (|||6446|)" (RFC 2428): any delimiter.
func parseEPSV(s string) (int, error) {
	_, s, ok := strings.Cut(s, "(")
	s, _, closed := strings.Cut(s, ")")
	if ok && closed && len(s) > 4 {
		d := s[:1]
		if f := strings.Split(s, d); len(f) == 5 && f[0] == "" && f[4] == "" {
			return parsePort(f[3])
		}
	}
	return 0, fmt.Errorf("the ftp server names no data port: %.60q", s)
}

// parsePASV reads the port of "227 … (h1,h2,h3,h4,p1,p2)". The address is left
// out: data goes to the host that control goes to, and nowhere else.
func parsePASV(s string) (int, error) {
	start := strings.IndexAny(s, "0123456789")
	if start >= 0 {
		end := start
		for end < len(s) && strings.IndexByte("0123456789, ", s[end]) >= 0 {
			end++
		}
		if f := strings.Split(strings.ReplaceAll(s[start:end], " ", ""), ","); len(f) == 6 {
			hi, err1 := strconv.ParseUint(f[4], 10, 8)
			lo, err2 := strconv.ParseUint(f[5], 10, 8)
			if err1 == nil && err2 == nil && hi+lo > 0 {
				return int(hi<<8 | lo), nil
			}
		}
	}
	return 0, fmt.Errorf("the ftp server names no data port: %.60q", s)
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("the ftp server names the data port %.20q", s)
	}
	return int(n), nil
}

// parseHash finds the one SHA-256 in an answer to HASH or XSHA256.
func parseHash(lines []string) (sum [32]byte, err error) {
	found := 0
	for _, word := range strings.Fields(strings.Join(lines, " ")) {
		if b, err := hexSum(word); err == nil {
			sum, found = b, found+1
		}
	}
	if found != 1 {
		return sum, fmt.Errorf("the ftp server answered no SHA-256: %.100q", strings.Join(lines, " "))
	}
	return sum, nil
}
