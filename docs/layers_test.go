package docs_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gatehouse-auth/gatehouse/"

// layers lists every package of the product, from the top down. A package imports only packages of lines below its own.
var layers = [][]string{
	{"cmd/gatehouse", "internal/openapigen", "internal/protoimports"},

	{"services/gateway"},
	{"services/gateway/internal/rest", "services/gateway/internal/grpcproxy"},
	{"services/gateway/internal/docs", "services/gateway/internal/oauth"},
	{"services/gateway/internal/reply", "services/gateway/internal/ops"},
	{"services/gateway/internal/edge", "services/gateway/internal/upstream"},

	{"services/cache"},
	{"services/cache/internal/follower", "services/cache/internal/freshgroup"},
	{"services/cache/internal/coherence"},
	{"services/cache/internal/memorybackend", "services/cache/internal/redisbackend"},
	{"services/cache/internal/entry", "services/cache/internal/minrank", "services/cache/internal/ratelog"},

	{"services/store", "services/store/operator"},
	{"services/store/config", "services/store/internal/rpc", "services/store/internal/maintenance"},
	{"services/store/internal/login", "services/store/internal/changefeed", "services/store/internal/transfer"},
	{"services/store/internal/contract", "services/store/internal/signing", "services/store/internal/password"},
	{"services/store/internal/storage", "services/store/internal/pagetoken"},
	{"services/store/internal/storage/dialect/mysql", "services/store/internal/storage/dialect/sqlite"},
	{"services/store/internal/storage/migrate"},
	{"services/store/internal/storage/dialect", "services/store/internal/account", "services/store/internal/audit"},
	{"services/store/internal/emailaddr", "services/store/internal/refresh"},
	{"services/store/internal/field", "services/store/internal/emailaddr/emailtest"},

	{"internal/grpcx"},
	{"internal/authn", "internal/netlimit", "internal/breaker", "internal/logging"},
	{"internal/apierr", "internal/jwk", "internal/callctx", "internal/shares"},
	{"internal/redact", "internal/sessionrule", "internal/deadlines", "internal/wait"},
	{"gen/gatehouse/internalv1", "openapi"},
	{"gen/gatehouse/v1"},
}

// separate lists what a package, or a folder of packages, does not import even where it is below.
var separate = map[string][]string{
	"services/gateway": {module + "services/cache", module + "services/store"},
	"services/cache":   {module + "services/gateway", module + "services/store"},
	"services/store":   {module + "services/gateway", module + "services/cache"},

	"services/cache/internal/coherence": {
		module + "services/cache/internal/memorybackend", module + "services/cache/internal/redisbackend",
		"github.com/redis/",
	},

	"services/store/internal/account": {module + "gen/", "gorm.io/", "database/sql", "google.golang.org/"},
	"services/store/internal/login":   {module + "gen/", module + "internal/apierr", "gorm.io/", "google.golang.org/"},
	"services/store/internal/storage": {module + "gen/", module + "internal/apierr", "google.golang.org/"},
	"services/store/internal/rpc":     {"gorm.io/", "database/sql"},
}

// TestLayers checks that imports point downwards only. Tests may import more: they set a package up from its parts.
func TestLayers(t *testing.T) {
	imports := productImports(t)
	layerOf := map[string]int{}
	for i, layer := range layers {
		for _, path := range layer {
			layerOf[path] = i
			if imports[path] == nil {
				t.Errorf("layers lists %s, which is no package: remove it", path)
			}
		}
	}
	for path, all := range imports {
		layer, ok := layerOf[path]
		if !ok {
			t.Errorf("layers does not list %s: add it to the line above all that it imports", path)
			continue
		}
		for _, imported := range all {
			if name, ours := strings.CutPrefix(imported, module); ours && layerOf[name] <= layer {
				t.Errorf("%s imports %s, which layers does not list below it", path, name)
			}
			for folder, others := range separate {
				forbidden := slices.ContainsFunc(others, func(other string) bool { return strings.HasPrefix(imported, other) })
				if forbidden && (path == folder || strings.HasPrefix(path, folder+"/")) {
					t.Errorf("%s imports %s, which %s must not", path, imported, folder)
				}
			}
		}
	}
}

// productImports returns what each package of the product imports, by its path in the module. Packages that only tests
// use are left out.
func productImports(t *testing.T) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	for name, source := range readAll(t, ".go") {
		path := filepath.ToSlash(filepath.Dir(name))
		top, _, _ := strings.Cut(path, "/")
		if top == "test" || top == "tools" || path == "internal/testkit" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		if imports[path] == nil {
			imports[path] = []string{}
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(imports[path], imported) {
				imports[path] = append(imports[path], imported)
			}
		}
	}
	return imports
}
