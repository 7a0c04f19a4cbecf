package password

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// sources make, with Node's crypto module and programs of Debian, what other systems keep of a password, and convert it
// with the functions of the guide.
const sources = `
const crypto = require('crypto'), {execFileSync} = require('child_process');
const password = process.argv[1], b64 = bytes => bytes.toString('base64');
const salt = Buffer.from('0123456789abcdef'), text = 'Saltq3fEWR7';
const pbkdf2 = (salt, rounds, size, digest) => crypto.pbkdf2Sync(password, salt, rounds, size, digest);
const scrypt = (salt, p) => crypto.scryptSync(password, salt, 64, {N: 1024, r: 8, p});
const argon2 = kind => execFileSync('argon2', ['saltsalt0123', kind, '-t', '2', '-k', '64', '-p', '1', '-e'], {input: password}).toString().trim();
const bcrypt = secret => execFileSync('htpasswd', ['-niB', '-C', '4', 'user'], {input: secret}).toString().trim().split(':')[1];
const keycloak = (algorithm, rounds, size, digest) => ({
  secretData: JSON.stringify({value: b64(pbkdf2(salt, rounds, size, digest)), salt: b64(salt), additionalParameters: {}}),
  credentialData: JSON.stringify({hashIterations: rounds, algorithm, additionalParameters: {}}),
});
const keycloakArgon2 = kind => {
  const [, , , , argon2Salt, value] = argon2('-' + kind).split('$');
  return {
    secretData: JSON.stringify({value: value + '='.repeat(-value.length & 3), salt: argon2Salt + '='.repeat(-argon2Salt.length & 3)}),
    credentialData: JSON.stringify({hashIterations: 2, algorithm: 'argon2', additionalParameters: {
      hashLength: ['32'], memory: ['64'], type: [kind], version: ['1.3'], parallelism: ['1'],
    }}),
  };
};
const aspNet = (prf, digest, rounds) => {
  const head = Buffer.alloc(13);
  head[0] = 1;
  [prf, rounds, salt.length].forEach((value, i) => head.writeUInt32BE(value, 1 + 4 * i));
  return b64(Buffer.concat([head, salt, pbkdf2(salt, rounds, 32, digest)]));
};
const raw = bytes => b64(bytes).replace(/=+$/, '');
console.log(JSON.stringify({
  'Django pbkdf2_sha256': fromDjango('pbkdf2_sha256$1000$' + text + '$' + b64(pbkdf2(text, 1000, 32, 'sha256'))),
  'Django pbkdf2_sha1': fromDjango('pbkdf2_sha1$1000$' + text + '$' + b64(pbkdf2(text, 1000, 20, 'sha1'))),
  'Django scrypt': fromDjango('scrypt$1024$' + text + '$8$5$' + b64(scrypt(text, 5))),
  'Django argon2': fromDjango('argon2' + argon2('-id')),
  'Django bcrypt': fromDjango('bcrypt$' + bcrypt(password)),
  'Django bcrypt_sha256': fromDjango('bcrypt_sha256$' + bcrypt(crypto.createHash('sha256').update(password).digest('hex'))),
  'Keycloak pbkdf2': fromKeycloak(keycloak('pbkdf2', 1000, 64, 'sha1')),
  'Keycloak pbkdf2-sha256 of 32 bytes': fromKeycloak(keycloak('pbkdf2-sha256', 1000, 32, 'sha256')),
  'Keycloak pbkdf2-sha256 of 64 bytes': fromKeycloak(keycloak('pbkdf2-sha256', 1000, 64, 'sha256')),
  'Keycloak pbkdf2-sha512': fromKeycloak(keycloak('pbkdf2-sha512', 1000, 64, 'sha512')),
  'Keycloak argon2id': fromKeycloak(keycloakArgon2('id')),
  'Keycloak argon2i': fromKeycloak(keycloakArgon2('i')),
  'ASP.NET version 2': fromAspNet(b64(Buffer.concat([Buffer.from([0]), salt, pbkdf2(salt, 1000, 32, 'sha1')]))),
  'ASP.NET version 3, SHA-1': fromAspNet(aspNet(0, 'sha1', 1000)),
  'ASP.NET version 3, SHA-256': fromAspNet(aspNet(1, 'sha256', 10000)),
  'ASP.NET version 3, SHA-512': fromAspNet(aspNet(2, 'sha512', 1000)),
  'WordPress 6.8': fromWordPress('$wp' + bcrypt(crypto.createHmac('sha384', 'wp-sha384').update(password.trim()).digest('base64'))),
  'WordPress plug-in': fromWordPress(bcrypt(password)),
  'Auth0': bcrypt(password).replace('$2y$', '$2b$'),
  'Supabase': bcrypt(password).replace('$2y$', '$2a$'),
  'Supabase argon2': argon2('-id'),
  'Kratos bcrypt': fromKratos(bcrypt(password).replace('$2y$', '$2a$')),
  'Kratos argon2': fromKratos(argon2('-id')),
  'Kratos pbkdf2-sha1': fromKratos('$pbkdf2-sha1$i=1000,l=20$' + raw(salt) + '$' + raw(pbkdf2(salt, 1000, 20, 'sha1'))),
  'Kratos pbkdf2-sha256': fromKratos('$pbkdf2-sha256$i=1000,l=32$' + raw(salt) + '$' + raw(pbkdf2(salt, 1000, 32, 'sha256'))),
  'Kratos pbkdf2-sha512': fromKratos('$pbkdf2-sha512$i=1000,l=64$' + raw(salt) + '$' + raw(pbkdf2(salt, 1000, 64, 'sha512'))),
  'Kratos scrypt': fromKratos('$scrypt$ln=1024,r=8,p=1$' + b64(salt) + '$' + b64(scrypt(salt, 1))),
  'Kratos sha512-crypt': fromKratos('$sha512-crypt$' +
    execFileSync('mkpasswd', ['-s', '-m', 'sha512crypt', '-R', '1000'], {input: password}).toString().trim().slice(3)),
}));
`

// none are what the functions of the guide convert to nothing.
const none = `
console.log(JSON.stringify({
  'Django md5': fromDjango('md5$salt$hash') ?? '',
  'Django without a password': fromDjango('!unusable') ?? '',
  'WordPress phpass': fromWordPress('$P$B' + 'x'.repeat(30)) ?? '',
  'Keycloak plug-in': fromKeycloak({secretData: '{"value":"","salt":""}', credentialData: '{"algorithm":"bcrypt"}'}) ?? '',
}));
`

// runGuide runs a program after the functions of the guide.
func runGuide(t *testing.T, program string, arguments ...string) map[string]string {
	t.Helper()
	guide, err := os.ReadFile("../../../../docs/guides/password-hashes.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)\n```js\n(.*?)\n```\n").FindAllStringSubmatch(string(guide), -1) {
		script.WriteString(block[1] + "\n")
	}
	command := exec.CommandContext(t.Context(), "node", append([]string{"-e", script.String() + program, "--"}, arguments...)...)
	command.Stderr = t.Output()
	output, err := command.Output()
	if err != nil {
		t.Fatalf("run node (tools/install-test-deps.sh installs it): %v", err)
	}
	var converted map[string]string
	if err := json.Unmarshal(output, &converted); err != nil {
		t.Fatal(err)
	}
	return converted
}

func TestGuideConversions(t *testing.T) {
	hasher := cheapHasher(t)
	for _, password := range []string{"correct horse", "pässword 🔑 " + strings.Repeat("long ", 8)} {
		converted := runGuide(t, sources, password)
		if len(converted) < 28 {
			t.Errorf("only %d hashes are converted", len(converted))
		}
		for source, hash := range converted {
			t.Run(source, func(t *testing.T) {
				if err := Check(hash, unlimited); err != nil {
					t.Fatalf("%q: %v", hash, err)
				}
				for typed, want := range map[string]bool{password: true, "X" + password[1:]: false, password + "x": false} {
					if matches, err := hasher.Verify(t.Context(), hash, typed); err != nil || matches != want {
						t.Errorf("Verify(%q, %q) = %v, %v", hash, typed, matches, err)
					}
					if matches, err := Matches(hash, typed, unlimited); err != nil || matches != want {
						t.Errorf("Matches(%q, %q) = %v, %v", hash, typed, matches, err)
					}
				}
				if blank, ok := blankHash(hash); !ok || blank == hash {
					t.Errorf("log-ins without an account do not imitate %q", hash)
				}
			})
		}
	}
	for source, hash := range runGuide(t, none) {
		if hash != "" {
			t.Errorf("%s is converted to %q", source, hash)
		}
	}
}
