package control

import (
	"net/url"
	"strconv"
)

// query is how a filter travels, with its question mark.
func (f Filter) query() string {
	q := url.Values{"id": f.IDs, "state": f.States}
	if f.Before != "" {
		q.Set("before", f.Before)
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if text := q.Encode(); text != "" {
		return "?" + text
	}
	return ""
}

// parseFilter undoes query. What it does not know it refuses: a misspelt name must
// not be silently without effect.
func parseFilter(q url.Values) (f Filter, err error) {
	for name, values := range q {
		switch {
		case name == "id":
			f.IDs = values
		case name == "state":
			f.States = values
		case name == "before" && len(values) == 1:
			f.Before = values[0]
		case name == "limit" && len(values) == 1:
			n, err := strconv.ParseUint(values[0], 10, 31)
			if err != nil {
				return f, badFilter("a limit must be a number")
			}
			f.Limit = int(n)
		default:
			return f, badFilter("a list knows no " + strconv.Quote(name) + ", or not so often")
		}
	}
	return f, nil
}

func badFilter(message string) error {
	return usage(message, "Ask with id=…, state=… (as often as you like), before=ID and limit=N (once each).")
}
