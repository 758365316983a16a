package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/appdef"
	"github.com/berth-hpc/berth/internal/store"
)

const msgNoApplication = "Application Not Found"

// Lengths of what a job is given, in characters.
const (
	randomLength = 128
	// passwordLength is more than VNC looks at, and as much as people can type.
	passwordLength = 12
	// markLength is enough that nobody can submit the mark that stands for a number.
	markLength = 32
)

// SubmitApplication checks the submission of an application, or of an HPC script, and stores it as a queued job. For the rest see
// Batch.
func (s *Service) SubmitApplication(ctx context.Context, caller berth.Caller, req BatchRequest) (berth.Job, error) {
	if req.Submission.HPC != nil {
		return s.submit(ctx, caller, req, s.buildHPC)
	}
	return s.submit(ctx, caller, req, s.buildApplication)
}

// buildApplication makes the job of an application, or says what is wrong with the submission.
func (s *Service) buildApplication(ctx context.Context, caller berth.Caller, req BatchRequest) (draft, error) {
	if err := checkParameters(req.Submission.Parameters); err != nil {
		return draft{}, err
	}
	app, err := s.application(ctx, caller, req.Submission.App)
	if err != nil {
		return draft{}, err
	}
	definition, err := s.AppDef(app)
	if err != nil {
		return draft{}, &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	d := draft{sub: req.Submission, application: app.ID, command: req.Submission.Command, image: app.Image}
	command, ok := definition.Command(d.command)
	if !ok {
		return draft{}, &berth.Error{
			Kind: berth.NotFound, Msg: msgNoApplication, Detail: fmt.Sprintf("%s has no command %q", app.ID, d.command),
		}
	}
	if err := s.place(ctx, caller, &d); err != nil {
		return draft{}, err
	}
	if err := allows(command, d); err != nil {
		return draft{}, err
	}
	if kind := vaultTypes[d.vault.Kind]; len(definition.VaultTypes) > 0 && !slices.Contains(definition.VaultTypes, kind) {
		return draft{}, malformed("vault.name", fmt.Sprintf("%s is of type %s, the application takes %s",
			d.sub.Vault.Name, kind, strings.Join(definition.VaultTypes, ", ")))
	}
	d.sub.Container, d.sub.AppPrice = berth.Container{}, app.Price
	if definition.Identity != nil {
		d.sub.Identity = identity(*definition.Identity)
	}
	variables, err := s.accountVariables(ctx, caller, app, slices.Concat(definition.Variables, command.Variables))
	if err != nil {
		return draft{}, err
	}
	if err := s.render(ctx, caller, app, definition, &d); err != nil {
		return draft{}, err
	}
	d.run.Variables = withAccount(variables, d.run.Variables)
	d.sub.Parameters = shownParameters(command, d.sub.Parameters)
	return d, s.checkImage(ctx, d.image, req.PullSecret)
}

// checkParameters refuses what could not be shown again, also where the application does not look at it.
func checkParameters(sent map[string]json.RawMessage) error {
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		if !json.Valid(sent[key]) {
			return malformed("application.parameters."+key, "it is no JSON")
		}
	}
	return nil
}

// allows refuses machine types and numbers of nodes that a command is not made for.
func allows(command *appdef.Command, d draft) error {
	machine := d.sub.Machine
	switch {
	case !command.AllowsMachine(machine.Type):
		return malformed("machine.type", fmt.Sprintf("%q is not one of %s, which the application runs on",
			machine.Type, strings.Join(command.Machines, ", ")))
	case !command.AllowsNodes(machine.Nodes):
		return malformed("machine.nodes", fmt.Sprintf("%d is above %d, the limit of the application", machine.Nodes, command.ScaleMax))
	}
	return nil
}

// identity is who an application runs as. What its AppDef leaves out is as in every job.
func identity(of appdef.Identity) *berth.Identity {
	who := berth.DefaultIdentity
	if of.Username != "" {
		who.Username = of.Username
	}
	if of.Group != "" {
		who.Group = of.Group
	}
	if of.UID != 0 {
		who.UID = of.UID
	}
	if of.GID != 0 {
		who.GID = of.GID
	}
	return &who
}

// render sets what the job runs, and its walltime when the submission has none.
func (s *Service) render(ctx context.Context, caller berth.Caller, app berth.Application, definition *appdef.AppDef, d *draft) error {
	env := s.environment(*d)
	secret := encodeKey(s.cfg.Random(keyBytes))
	if app.Certified || app.Owner == caller.User.Name {
		env.APIURL, env.APIUser, env.APIKey = s.cfg.APIURL, caller.User.Name, secret
	}
	number := s.randomText(markLength)
	if s.cfg.Sites.Shared() {
		env.BasePath = basePath(definition, d.command, number)
	}
	rendered, err := appdef.Render(definition, d.command, d.sub.Parameters, env)
	if refused, ok := errors.AsType[*appdef.Error](err); ok {
		return &berth.Error{Kind: berth.Invalid, Msg: msgMalformed, Detail: strings.Join(refused.Problems, "; "), Err: err}
	}
	if err != nil {
		return &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	if len(rendered.Warnings) > 0 {
		s.cfg.Log.DebugContext(ctx, "parts of a submission have no effect", "application", app.ID, "warnings", rendered.Warnings)
	}
	if d.sub.Walltime == 0 {
		d.sub.Walltime = rendered.Walltime
	}
	d.sub.PublicIP = d.sub.PublicIP || rendered.PublicIP
	d.run = runOf(rendered, env)
	if err := checkFiles(d.run.Files); err != nil {
		return err
	}
	for _, action := range definition.Actions {
		if action.Args != "" {
			d.run.Actions = append(d.run.Actions, berth.Action(action))
		}
	}
	if mentions(d.run, env.APIKey) {
		d.run.Token = env.APIKey
	}
	if mentions(d.run, number) {
		d.run.NumberMark, d.run.BasePath = number, env.BasePath
	}
	return nil
}

// vaultTypes are what AppDefs call the kinds of vaults.
var vaultTypes = map[berth.VaultKind]string{
	berth.VaultEphemeral: "NONE", berth.VaultFile: "FILE", berth.VaultObject: "OBJECT",
	berth.VaultBlock: "BLOCK", berth.VaultBlockArray: "BLOCK_ARRAY",
}

// environment is what the AppDef of a job may refer to, without credentials.
func (s *Service) environment(d draft) appdef.Environment {
	const gigabyte = 1 << 30
	ram := int(d.machine.RAM / gigabyte)
	return appdef.Environment{
		Cores: d.machine.Cores, Nodes: d.sub.Machine.Nodes, GPUs: d.machine.GPUs, OtherGPUs: d.machine.GPUs, RAM: ram, OtherRAM: ram,
		JobLabel: d.sub.Label, MachineType: d.machine.Name, VaultType: vaultTypes[d.vault.Kind], VaultName: d.vault.Name,
		Random: s.randomText(randomLength), Password: s.randomText(passwordLength), ExpandSubmitted: s.cfg.ExpandSubmitted,
	}
}

// runOf is what the first node does.
func runOf(rendered appdef.Rendered, env appdef.Environment) *berth.Run {
	run := &berth.Run{
		Init: rendered.Init, VerboseInit: rendered.VerboseInit, Interactive: rendered.Interactive,
		Webshell: rendered.Webshell, Desktop: rendered.Desktop,
		URL: rendered.URL, NoConnect: rendered.NoConnect, Ports: portsOf(rendered.Ports),
		Password: env.Password, Random: env.Random,
	}
	if rendered.Shell != "" && !rendered.Init {
		run.Shell = rendered.Shell
	} else {
		run.Argv = rendered.Argv
	}
	for _, v := range rendered.Variables {
		run.Variables = append(run.Variables, berth.Setting{Key: v.Key, Value: v.Value})
	}
	for _, file := range rendered.Uploads {
		run.Files = append(run.Files, berth.File{Path: file.Path, Data: file.Data})
	}
	if script := rendered.Script; script != nil {
		run.Files = append(run.Files, berth.File{Path: script.Path, Data: script.Data, Executable: true})
	}
	return run
}

// portsOf are the ports that an AppDef names, nil for nil.
func portsOf(ports []appdef.Port) []berth.Port {
	if ports == nil {
		return nil
	}
	named := make([]berth.Port, len(ports))
	for i, port := range ports {
		named[i] = berth.Port(port)
	}
	return named
}

// checkFiles refuses files that no job may have.
func checkFiles(files []berth.File) error {
	for _, file := range files {
		if err := agentapi.CheckFile(file.Path); err != nil {
			return malformed("application.command", fmt.Sprintf("its file %q: %s", file.Path, err))
		}
	}
	return nil
}

// checkAppFiles refuses an AppDef whose jobs would have files that no job may have. Uploads are below /opt, where they do no harm.
func checkAppFiles(definition *appdef.AppDef) error {
	for _, command := range definition.Commands {
		if command.Script == "" {
			continue
		}
		program, _, _ := strings.Cut(command.Path, " ")
		if err := agentapi.CheckFile(program); err != nil {
			detail := fmt.Sprintf("commands.%s.path: %q for the cmdscript: %s", command.Key, program, err)
			return &berth.Error{Kind: berth.Invalid, Msg: msgBadAppDef, Detail: detail}
		}
	}
	return nil
}

// mentions says whether the command of a job gets a secret. A secret that nobody gets need not exist.
func mentions(run *berth.Run, secret string) bool {
	has := func(text string) bool { return secret != "" && strings.Contains(text, secret) }
	return has(run.Shell) || slices.ContainsFunc(run.Argv, has) ||
		slices.ContainsFunc(run.Variables, func(v berth.Setting) bool { return has(v.Value) })
}

// tokenOf is the API key that the store keeps for a job until its end.
func (s *Service) tokenOf(d draft, job berth.Job) store.NewToken {
	if d.run == nil || d.run.Token == "" {
		return store.NewToken{}
	}
	key := berth.Key{ID: encodeKey(s.cfg.Random(keyIDBytes)), Label: "token of a job", Created: job.Submitted}
	return store.NewToken{Key: key, Hash: HashKey(d.run.Token)}
}

// shownParameters are those that are kept and shown again: what the application knows. The content of a file can be large, and the
// job finds it in the file.
func shownParameters(command *appdef.Command, sent map[string]json.RawMessage) map[string]json.RawMessage {
	shown := make(map[string]json.RawMessage)
	for _, parameter := range command.Parameters {
		if value, ok := sent[parameter.Key]; ok && parameter.Type != appdef.Upload {
			shown[parameter.Key] = value
		}
	}
	if len(shown) == 0 {
		return nil
	}
	return shown
}

// randomText returns random letters and digits.
func (s *Service) randomText(length int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := s.cfg.Random(2 * length)
	text := make([]byte, length)
	for i := range text {
		// Two bytes for each: with one, the first letters would be a quarter more frequent than the last.
		text[i] = alphabet[(int(random[2*i])<<8|int(random[2*i+1]))%len(alphabet)]
	}
	return string(text)
}
