package e2e

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

func importBusybox(t *testing.T, s *berthdtest.Server) {
	t.Helper()
	file, err := os.Open(enginetest.BusyboxRootfs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := clientOf(t, s).ImportImage(t.Context(), file, client.ImageImport{Name: "local/busybox:latest", Rootfs: true}); err != nil {
		t.Fatal(err)
	}
}

// addShell makes an application whose one parameter is a script.
func addShell(t *testing.T, s *berthdtest.Server) {
	t.Helper()
	_, err := clientOf(t, s).AddApp(t.Context(), client.NewApp{
		ID: "shell", Image: "local/busybox:latest",
		AppDef: json.RawMessage(`{"name": "Shell", "machines": ["*"], "commands": {"Run": {"path": "/bin/sh", "name": "Run",
			"parameters": {"-c": {"name": "Script", "type": "STR", "required": true}}}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// blockVault is the name of a block vault.
const blockVault = "home"

func addBlockVault(t *testing.T, s *berthdtest.Server) {
	t.Helper()
	_, err := clientOf(t, s).AddVault(t.Context(), client.NewVault{Name: blockVault, Kind: "block", Volume: client.Volume{Size: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
}
