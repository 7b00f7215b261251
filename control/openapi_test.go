package control

import (
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is what this test understands of a JSON schema.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Format     string             `json:"format"`
	Enum       []string           `json:"enum"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
	Additional any                `json:"additionalProperties"`
}

type operation struct {
	OperationID string                `json:"operationId"`
	Security    []map[string][]string `json:"security"`
	RequestBody *struct {
		Content map[string]struct{ Schema schema } `json:"content"`
	} `json:"requestBody"`
	Parameters []struct {
		Ref string `json:"$ref"`
	} `json:"parameters"`
	Responses map[string]any `json:"responses"`
}

type document struct {
	OpenAPI    string                           `json:"openapi"`
	Paths      map[string]map[string]*operation `json:"paths"`
	Components struct {
		Schemas    map[string]*schema `json:"schemas"`
		Parameters map[string]struct {
			Name   string
			In     string
			Schema schema
		} `json:"parameters"`
	} `json:"components"`
}

func parsed(t *testing.T) *document {
	t.Helper()
	d := &document{}
	if err := json.Unmarshal(Definition(), d); err != nil {
		t.Fatal(err)
	}
	if d.OpenAPI != "3.1.0" {
		t.Fatalf("version %q", d.OpenAPI)
	}
	return d
}

// types are the Go types of the schemas; each schema must be here.
var types = map[string]reflect.Type{
	"Job": reflect.TypeFor[Job](), "Item": reflect.TypeFor[Item](), "Status": reflect.TypeFor[Status](),
	"Companion": reflect.TypeFor[Companion](), "Memory": reflect.TypeFor[Memory](), "Denial": reflect.TypeFor[Denial](), "Drop": reflect.TypeFor[Drop](),
	"Package": reflect.TypeFor[Package](), "NewPackage": reflect.TypeFor[NewPackage](),
	"AddFile": reflect.TypeFor[AddFile](), "Select": reflect.TypeFor[Select](), "Outcome": reflect.TypeFor[Outcome](),
	"Event": reflect.TypeFor[Event](), "Destination": reflect.TypeFor[Destination](), "JobList": reflect.TypeFor[JobList](),
	"OutcomeList": reflect.TypeFor[OutcomeList](), "DestinationList": reflect.TypeFor[DestinationList](),
	"MonitorAccess": reflect.TypeFor[MonitorAccess](), "Error": reflect.TypeFor[Error](), "Empty": reflect.TypeFor[struct{}](),
}

// optional are the fields that a caller may leave out although Go always sends them.
var optional = map[string]bool{"NewPackage.name": true, "NewPackage.destination": true}

func TestDefinitionListsTheRoutes(t *testing.T) {
	d := parsed(t)
	var defined []string
	ids := map[string]bool{}
	for path, ops := range d.Paths {
		for method, op := range ops {
			call := strings.ToUpper(method) + " " + path
			defined = append(defined, call)
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s: its operationId %q is missing or not its own", call, op.OperationID)
			}
			ids[op.OperationID] = true
			if page := len(op.Security) > 0; page != Calls()[call] {
				t.Errorf("%s: open to the page: definition %v, server %v", call, page, Calls()[call])
			}
			if (op.RequestBody != nil) != (method == "post") {
				t.Errorf("%s: a body belongs to POST alone", call)
			}
			inPath := 0
			for _, ref := range op.Parameters {
				p := d.Components.Parameters[strings.TrimPrefix(ref.Ref, "#/components/parameters/")]
				if p.In == "query" {
					if _, err := parseFilter(url.Values{p.Name: {"0"}}); err != nil || call != "GET /v1/jobs" {
						t.Errorf("%s: parameter %q is not understood: %v", call, p.Name, err)
					}
					continue
				}
				inPath++
				if !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s: parameter %q is not in the path", call, p.Name)
				}
			}
			if strings.Count(path, "{") != inPath {
				t.Errorf("%s: %d parameters are defined", call, inPath)
			}
		}
	}
	served := slices.Sorted(maps.Keys(Calls()))
	if slices.Sort(defined); !slices.Equal(defined, served) {
		t.Errorf("defined\n%q\nserved\n%q", defined, served)
	}
}

func TestSchemasAreTheGoTypes(t *testing.T) {
	d := parsed(t)
	if got, want := slices.Sorted(maps.Keys(d.Components.Schemas)), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Fatalf("schemas %q\ntypes   %q", got, want)
	}
	for name, typ := range types {
		compare(t, name, d.Components.Schemas[name], typ)
	}
}

func compare(t *testing.T, name string, s *schema, typ reflect.Type) {
	t.Helper()
	var fields, required []string
	for f := range typ.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" {
			continue
		}
		fields = append(fields, tag)
		if options == "" && !optional[name+"."+tag] {
			required = append(required, tag)
		}
		if p := s.Properties[tag]; p != nil {
			if got, want := shape(p), goShape(f.Type); got != want {
				t.Errorf("%s.%s: defined as %s, in Go %s", name, tag, got, want)
			}
		}
	}
	slices.Sort(fields)
	if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, fields) {
		t.Errorf("%s: defined %q, in Go %q", name, got, fields)
	}
	slices.Sort(required)
	if got := slices.Sorted(slices.Values(s.Required)); !slices.Equal(got, required) {
		t.Errorf("%s: required %q, always sent %q", name, got, required)
	}
}

// shape and goShape put a type into the same words.
func shape(s *schema) string {
	switch {
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, "#/components/schemas/")
	case s.Type == "array":
		return "[]" + shape(s.Items)
	case s.Type == "object":
		return "map"
	}
	return strings.TrimSuffix(s.Type+" "+s.Format, " ")
}

func goShape(typ reflect.Type) string {
	if typ == reflect.TypeFor[time.Time]() {
		return "string date-time"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return goShape(typ.Elem())
	case reflect.Slice:
		return "[]" + goShape(typ.Elem())
	case reflect.Map:
		return "map"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "integer int64"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return typ.Name()
}

func TestEnumsAreTheConstants(t *testing.T) {
	d := parsed(t)
	codes := []string{}
	for _, c := range []Code{
		CodeFailed, CodeUsage, CodeNotFound, CodeConflict, CodeNoMemory, CodeRefused, CodeUnknownKey, CodeDraining, CodeUnavailable,
	} {
		codes = append(codes, string(c))
	}
	for what, pair := range map[string][2][]string{
		"verb":  {d.Components.Parameters["verb"].Schema.Enum, {string(Pause), string(Resume), string(Cancel), string(Retry)}},
		"event": {d.Components.Schemas["Event"].Properties["type"].Enum, {EventJob, EventRemoved, EventReady, EventDraining}},
		"code":  {d.Components.Schemas["Error"].Properties["code"].Enum, codes},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: defined %q, in Go %q", what, pair[0], pair[1])
		}
	}
}

// TestEveryReferenceLeadsSomewhere: generators stop at the first that does not.
func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	var whole any
	if err := json.Unmarshal(Definition(), &whole); err != nil {
		t.Fatal(err)
	}
	count := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if r, ok := v["$ref"].(string); ok {
				count++
				at := whole
				for _, step := range strings.Split(strings.TrimPrefix(r, "#/"), "/") {
					at = at.(map[string]any)[step]
					if at == nil {
						t.Fatalf("%s leads nowhere", r)
					}
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(whole)
	if count == 0 {
		t.Error("no references at all")
	}
}
