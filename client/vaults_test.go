package client_test

import (
	"testing"

	"github.com/berth-hpc/berth/client"
)

const bucketAnswer = `{"name":"s3@bob","owner":"bob","kind":"object","default":false,"team":"fluids","share":"read",` +
	`"endpoint":"https://s3.example.org","bucket":"b","prefix":"p/","region":"r","path_style":true}`

var s3Vault = client.Vault{
	Name: "s3@bob", Owner: "bob", Kind: "object", Team: "fluids", Share: "read",
	Bucket: client.Bucket{Endpoint: "https://s3.example.org", Bucket: "b", Prefix: "p/", Region: "r", PathStyle: true},
}

func TestVaults(t *testing.T) {
	t.Parallel()
	share, no := "none", false
	checkExchanges(t, map[string]exchange{
		"list": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Vaults(t.Context(), "") },
			want: "GET /v1/vaults?username=ada", answer: `{"vaults":[` + bucketAnswer + `]}`, result: []client.Vault{s3Vault},
		},
		"list another's": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Vaults(t.Context(), "bob") },
			want: "GET /v1/vaults?owner=bob&username=ada", answer: `{"vaults":[]}`, result: []client.Vault{},
		},
		"show": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Vault(t.Context(), "s3@bob") },
			want: "GET /v1/vaults/s3@bob?username=ada", answer: `{"vault":` + bucketAnswer + `}`, result: s3Vault,
		},
		"add": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddVault(t.Context(), client.NewVault{
					Owner: "bob", Name: "s3", Kind: "object", Share: "read", Default: true, Bucket: s3Vault.Bucket,
					BucketKeys: client.BucketKeys{AccessKey: "a", SecretKey: "s"},
				})
			},
			want: "POST /v1/vaults?username=ada",
			body: `{"owner":"bob","name":"s3","kind":"object","share":"read","default":true,"endpoint":"https://s3.example.org","bucket":"b",` +
				`"prefix":"p/","region":"r","path_style":true,"access_key":"a","secret_key":"s"}`,
			answer: `{"vault":` + bucketAnswer + `}`, result: s3Vault,
		},
		"add a block vault": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.AddVault(t.Context(), client.NewVault{
					Name: "home", Kind: "block-array", Volume: client.Volume{Size: 1 << 30, Images: 2}, Password: "correct horse",
				})
			},
			want: "POST /v1/vaults?username=ada",
			body: `{"name":"home","kind":"block-array","size":1073741824,"images":2,"password":"correct horse"}`,
			answer: `{"vault":{"name":"home","owner":"ada","kind":"block-array","default":false,"team":"","share":"none",` +
				`"size":1073741824,"images":2,"encrypted":true}}`,
			result: client.Vault{
				Name: "home", Owner: "ada", Kind: "block-array", Share: "none", Volume: client.Volume{Size: 1 << 30, Images: 2}, Encrypted: true,
			},
		},
		"change": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.ChangeVault(t.Context(), "s3@bob", client.VaultChange{Share: &share, Default: &no})
			},
			want: "PATCH /v1/vaults/s3@bob?username=ada", body: `{"share":"none","default":false}`, answer: `{"vault":` + bucketAnswer + `}`, result: s3Vault,
		},
		"change the credentials": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.ChangeVault(t.Context(), "s3@bob", client.VaultChange{BucketKeys: &client.BucketKeys{AccessKey: "a", SecretKey: "s"}})
			},
			want: "PATCH /v1/vaults/s3@bob?username=ada", body: `{"access_key":"a","secret_key":"s"}`, answer: `{"vault":` + bucketAnswer + `}`, result: s3Vault,
		},
		"remove": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RemoveVault(t.Context(), "s3", false) },
			want: "DELETE /v1/vaults/s3?username=ada", answer: `{"status":"removed"}`,
		},
		"remove with its data": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RemoveVault(t.Context(), "s3", true) },
			want: "DELETE /v1/vaults/s3?data=true&username=ada", answer: `{"status":"removed"}`,
		},
		"change the password": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return nil, c.ChangeVaultPassword(t.Context(), "home", "correct horse", "battery staple")
			},
			want: "POST /v1/vaults/home/password?username=ada", body: `{"password":"correct horse","new_password":"battery staple"}`,
			answer: `{"status":"changed"}`,
		},
		"repair": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.RepairVault(t.Context(), "home") },
			want: "POST /v1/vaults/home/repair?username=ada", answer: `{"status":"repaired"}`,
		},
		"kept data": {
			call: func(t *testing.T, c *client.Client) (any, error) { return c.Kept(t.Context(), true) },
			want: "GET /v1/kept?all=true&username=ada", answer: `{"kept":[{"number":7,"owner":"bob","wish":"save","detail":"d"}]}`,
			result: []client.KeptData{{Number: 7, Owner: "bob", Wish: "save", Detail: "d"}},
		},
		"save": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.SaveKept(t.Context(), 7) },
			want: "POST /v1/kept/7?username=ada", answer: `{"status":"save requested"}`,
		},
		"drop": {
			call: func(t *testing.T, c *client.Client) (any, error) { return nil, c.DropKept(t.Context(), 7) },
			want: "DELETE /v1/kept/7?username=ada", answer: `{"status":"drop requested"}`,
		},
	})
}
