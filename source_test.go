//go:build !windows

// These tests read the source, which is the same on every system.

package berth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one parsed Go file of this repository, whatever its system.
type source struct {
	path string
	*ast.File
}

func (s source) dir() string { return path.Dir(s.path) }
func (s source) test() bool  { return strings.HasSuffix(s.path, "_test.go") }

// files calls f with every regular file below the root, by slash-separated path.
func files(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", "dist"}, d.Name()) {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			f(filepath.ToSlash(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	fset := token.NewFileSet()
	var all []source
	files(t, func(p string) {
		if !strings.HasSuffix(p, ".go") || strings.Contains(p, "/testdata/") {
			return
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{p, f})
	})
	if len(all) == 0 {
		t.Fatal("no Go file found: the test runs in the wrong folder")
	}
	return fset, all
}

func TestEveryPackageHasOneDocComment(t *testing.T) {
	_, all := sources(t)
	docs := map[string][]string{}
	for _, s := range all {
		if s.test() {
			continue
		}
		if _, seen := docs[s.dir()]; !seen {
			docs[s.dir()] = nil
		}
		if s.Doc == nil {
			continue
		}
		docs[s.dir()] = append(docs[s.dir()], s.path)
		want := "Package " + s.Name.Name + " "
		if s.Name.Name == "main" {
			want = "Command " + path.Base(s.dir()) + " "
		}
		if !strings.HasPrefix(s.Doc.Text(), want) {
			t.Errorf("%s: the package comment should begin with %q", s.path, want)
		}
	}
	for dir, found := range docs {
		if len(found) != 1 {
			t.Errorf("package %s has %d package comments, want exactly one: %v", dir, len(found), found)
		}
	}
}

func TestUnsafeIsExplained(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		explained := map[int]bool{} // lines that carry or directly follow a note
		for _, g := range s.Comments {
			if strings.Contains(g.Text(), "SAFETY:") {
				first, last := fset.Position(g.Pos()).Line, fset.Position(g.End()).Line
				for line := first; line <= last+1; line++ {
					explained[line] = true
				}
			}
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "unsafe" && !explained[fset.Position(sel.Pos()).Line] {
				t.Errorf("%s: unsafe.%s without a SAFETY: note on the line or above it", fset.Position(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// TestNothingPublicIsInternal keeps types of internal packages out of what
// others can import: they could not name them.
func TestNothingPublicIsInternal(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if s.test() || s.Name.Name == "main" || strings.Contains(s.path, "internal/") {
			continue
		}
		internal := internalImports(s)
		for _, n := range publicTypes(s.File) {
			visible(n, func(sel *ast.SelectorExpr) {
				if x, ok := sel.X.(*ast.Ident); ok && internal[x.Name] {
					t.Errorf("%s: %s.%s stands in a public declaration", fset.Position(sel.Pos()), x.Name, sel.Sel.Name)
				}
			})
		}
	}
}

func internalImports(s source) map[string]bool {
	names := map[string]bool{}
	for _, imp := range s.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		if !strings.Contains(p+"/", "/internal/") {
			continue
		}
		name := path.Base(p)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		names[name] = true
	}
	return names
}

// publicTypes are the parts of a file's declarations that its importers see:
// signatures of exported functions, exported types, types of exported variables.
func publicTypes(f *ast.File) []ast.Node {
	var nodes []ast.Node
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
				nodes = append(nodes, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						nodes = append(nodes, spec.Type)
					}
				case *ast.ValueSpec:
					if spec.Names[0].IsExported() && spec.Type != nil {
						nodes = append(nodes, spec.Type)
					}
				}
			}
		}
	}
	return nodes
}

func exportedReceiver(recv *ast.FieldList) bool {
	exported := false
	ast.Inspect(recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && !exported {
			exported = id.IsExported()
		}
		return true
	})
	return exported
}

// visible calls f with every qualified name in n that an importer can see:
// unexported fields of structs are not, embedded ones are.
func visible(n ast.Node, f func(*ast.SelectorExpr)) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, field := range n.Fields.List {
				if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
					visible(field.Type, f)
				}
			}
			return false
		case *ast.SelectorExpr:
			f(n)
		}
		return true
	})
}
