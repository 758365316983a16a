package image_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestCredentials(t *testing.T) {
	const ref = "registry.example.com:5000/team/tool:1"
	me := engine.Credentials{Username: "me", Password: "s3:cret>?"}
	plain := `{"auths":{"registry.example.com:5000":{"auth":"` + b64("me:s3:cret>?") + `"}}}`
	for name, test := range map[string]struct {
		secret, ref string
		want        engine.Credentials
	}{
		"nothing":              {"", ref, engine.Credentials{}},
		"white space":          {" \n", ref, engine.Credentials{}},
		"plain JSON":           {plain, ref, me},
		"base64":               {b64(plain), ref, me},
		"base64 unpadded":      {base64.RawStdEncoding.EncodeToString([]byte(plain)), ref, me},
		"base64 URL":           {base64.URLEncoding.EncodeToString([]byte(plain + "   ")), ref, me},
		"base64 URL unpadded":  {base64.RawURLEncoding.EncodeToString([]byte(plain)), ref, me},
		"base64 in lines":      {"\n" + b64(plain)[:20] + "\r\n" + b64(plain)[20:] + "\n", ref, me},
		"user and password":    {`{"auths":{"registry.example.com:5000":{"username":"me","password":"s3:cret>?"}}}`, ref, me},
		"identity token":       {`{"auths":{"registry.example.com:5000":{"auth":"` + b64("<token>:") + `","identitytoken":"tok"}}}`, ref, engine.Credentials{Password: "tok"}},
		"scheme and path":      {`{"auths":{"https://Registry.example.com:5000/v2/":{"username":"me","password":"s3:cret>?"}}}`, ref, me},
		"another registry":     {`{"auths":{"ghcr.io":{"username":"me","password":"x"}}}`, ref, engine.Credentials{}},
		"another port":         {`{"auths":{"registry.example.com":{"username":"me","password":"x"}}}`, ref, engine.Credentials{}},
		"no entries":           {`{"auths":{}}`, ref, engine.Credentials{}},
		"kept elsewhere":       {`{"auths":{"registry.example.com:5000":{}},"credsStore":"desktop"}`, ref, engine.Credentials{}},
		"broken for others":    {`{"auths":{"ghcr.io":{"auth":"%"},"registry.example.com:5000":{"username":"me","password":"s3:cret>?"}}}`, ref, me},
		"padded with NUL":      {`{"auths":{"registry.example.com:5000":{"auth":"` + b64("me:s3:cret>?\x00\x00") + `"}}}`, ref, me},
		"hub by its URL":       {`{"auths":{"https://index.docker.io/v1/":{"username":"me","password":"s3:cret>?"}}}`, "ubuntu", me},
		"hub by its name":      {`{"auths":{"docker.io":{"username":"me","password":"s3:cret>?"}}}`, "me/private:2", me},
		"hub by its host":      {`{"auths":{"registry-1.docker.io":{"username":"me","password":"s3:cret>?"}}}`, "docker.io/me/private:2", me},
		"longest path":         {`{"auths":{"registry.example.com:5000":{"username":"a","password":"b"},"registry.example.com:5000/team":{"username":"me","password":"s3:cret>?"}}}`, ref, me},
		"path of another team": {`{"auths":{"registry.example.com:5000":{"username":"me","password":"s3:cret>?"},"registry.example.com:5000/tea":{"username":"a","password":"b"}}}`, ref, me},
		"default port":         {`{"auths":{"ghcr.io:443":{"username":"me","password":"s3:cret>?"}}}`, "ghcr.io/x", me},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := image.Credentials(test.secret, test.ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCredentialsRefusesAndTellsNothing(t *testing.T) {
	const hidden = "hunter2hunter2"
	for name, secret := range map[string]string{
		"no base64":        "!" + hidden,
		"no JSON":          b64(hidden),
		"JSON in halves":   `{"auths":{"docker.io":{"password":"` + hidden + `"`,
		"no auths":         `{"password":"` + hidden + `"}`,
		"wrong types":      `{"auths":{"docker.io":{"password":["` + hidden + `"]}}}`,
		"auth not base64":  `{"auths":{"docker.io":{"auth":"` + hidden + `!"}}}`,
		"auth no colon":    `{"auths":{"docker.io":{"auth":"` + b64(hidden) + `"}}}`,
		"auth no user":     `{"auths":{"docker.io":{"auth":"` + b64(":"+hidden) + `"}}}`,
		"too large":        strings.Repeat(hidden, 100_000),
		"JSON of a number": "7" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := image.Credentials(secret, "ubuntu")
			if err == nil {
				t.Fatalf("got %d bytes of credentials, want an error", len(got.Password))
			}
			for _, text := range []string{hidden, b64(hidden), hidden[:6]} {
				if strings.Contains(err.Error(), text) {
					t.Errorf("the error tells the secret: %v", err)
				}
			}
		})
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add(`{"auths":{"docker.io":{"auth":"bWU6cHc="}}}`, "ubuntu")
	f.Add("eyJhdXRocyI6e319", "ghcr.io/x/y")
	f.Add("\xff=", "x")
	f.Fuzz(func(t *testing.T, secret, ref string) {
		got, err := image.Credentials(secret, ref)
		if err != nil && got != (engine.Credentials{}) {
			t.Error("credentials together with an error")
		}
		// Other forms of the same secret mean the same.
		if strings.HasPrefix(strings.TrimSpace(secret), "{") && err == nil {
			for _, form := range []string{b64(secret), base64.RawURLEncoding.EncodeToString([]byte(secret))} {
				if again, err := image.Credentials(form, ref); len(form) < 1<<20 && (err != nil || again != got) {
					t.Errorf("as base64 it means something else: %v", err)
				}
			}
		}
	})
}
