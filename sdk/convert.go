package sdk

// Conversions between the author's types and the wire, plugin's side: one dull
// function per message, nil in gives zero out.

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

func problemToProto(p *Problem) *pb.Problem {
	if p == nil {
		return nil
	}
	out := &pb.Problem{
		Code: pb.Problem_Code(pb.Problem_Code_value[string(p.Code)]), Summary: p.Summary,
		Detail: p.Detail, Hint: p.Hint, Subject: p.Subject,
	}
	switch p.Retry {
	case RetryNever:
		out.Retry = pb.Problem_PERMANENT
	case RetryLater:
		out.Retry = pb.Problem_RETRYABLE
	}
	if p.After > 0 {
		out.RetryAfter = durationpb.New(p.After)
	}
	return out
}

func problemsToProto(problems []*Problem) []*pb.Problem {
	var out []*pb.Problem
	for _, p := range problems {
		out = append(out, problemToProto(p))
	}
	return out
}

func problemFromProto(p *pb.Problem) *Problem {
	if p == nil {
		return nil
	}
	out := &Problem{
		Code: Internal, Summary: p.GetSummary(), Detail: p.GetDetail(),
		Hint: p.GetHint(), Subject: p.GetSubject(), After: p.GetRetryAfter().AsDuration(),
	}
	if name, ok := pb.Problem_Code_name[int32(p.GetCode())]; ok && p.GetCode() != 0 {
		out.Code = Code(name)
	}
	switch p.GetRetry() {
	case pb.Problem_PERMANENT:
		out.Retry = RetryNever
	case pb.Problem_RETRYABLE:
		out.Retry = RetryLater
	}
	return out
}

func identifierToProto(i Identifier) *pb.Identifier {
	return &pb.Identifier{Type: i.Type, Value: i.Value, Wildcard: i.Wildcard}
}

func identifierFromProto(i *pb.Identifier) Identifier {
	return Identifier{Type: i.GetType(), Value: i.GetValue(), Wildcard: i.GetWildcard()}
}

func identifiersFromProto(ids []*pb.Identifier) []Identifier {
	var out []Identifier
	for _, i := range ids {
		out = append(out, identifierFromProto(i))
	}
	return out
}

func operationFromProto(o *pb.Operation) Operation {
	return Operation{
		ID: o.GetOperationId(), RunID: o.GetRunId(), Lineage: o.GetLineage(), Attempt: int(o.GetAttempt()),
		Deadline: timeFromProto(o.GetDeadline()), Identifiers: identifiersFromProto(o.GetIdentifiers()),
	}
}

func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func challengeFromProto(c *pb.Challenge) Challenge {
	out := Challenge{
		ID: c.GetId(), Type: c.GetType(), Identifier: identifierFromProto(c.GetIdentifier()),
		Token: c.GetToken(), KeyAuthorization: c.GetKeyAuthorization(), RawJSON: c.GetRawJson(),
	}
	if h := c.GetHttp(); h != nil {
		out.HTTP = &HTTPChallenge{Path: h.GetPath(), Body: h.GetBody()}
	}
	if d := c.GetDns(); d != nil {
		out.DNS = &DNSChallenge{Name: d.GetName(), Value: d.GetValue(), Zone: d.GetZone(), TTL: d.GetTtl().AsDuration()}
	}
	if a := c.GetAlpn(); a != nil {
		out.ALPN = &ALPNChallenge{ServerName: a.GetServerName(), CertPEM: a.GetCertPem(), KeyPEM: a.GetKeyPem()}
	}
	return out
}

func challengesFromProto(cs []*pb.Challenge) []Challenge {
	var out []Challenge
	for _, c := range cs {
		out = append(out, challengeFromProto(c))
	}
	return out
}

func resultToProto(r Result) *pb.Result {
	out := &pb.Result{
		Subject: r.Subject, Problem: problemToProto(ProblemOf(r.Err)), Receipt: r.Receipt,
		Changed: r.Changed, Diff: r.Diff,
	}
	for _, e := range r.Endpoints {
		kind := pb.Endpoint_TLS
		switch e.Kind {
		case SMTP:
			kind = pb.Endpoint_SMTP
		case IMAP:
			kind = pb.Endpoint_IMAP
		case POP3:
			kind = pb.Endpoint_POP3
		}
		out.Endpoints = append(out.Endpoints, &pb.Endpoint{Address: e.Address, ServerName: e.ServerName, Kind: kind})
	}
	return out
}

func pathsFromProto(p *pb.Paths) Paths {
	return Paths{Cert: p.GetCert(), Chain: p.GetChain(), Fullchain: p.GetFullchain(), Privkey: p.GetPrivkey()}
}

func deploymentFromProto(d *pb.Deployment) Deployment {
	return Deployment{
		Lineage: d.GetLineage(), Name: d.GetName(), Names: d.GetNames(),
		LeafPEM: d.GetLeafPem(), ChainPEM: d.GetChainPem(), FullchainPEM: d.GetFullchainPem(), KeyPEM: d.GetKeyPem(),
		Paths: pathsFromProto(d.GetPaths()), ConfigPaths: pathsFromProto(d.GetConfigPaths()), DryRun: d.GetDryRun(),
	}
}

func checkpointToProto(c Checkpoint) *pb.Checkpoint {
	out := &pb.Checkpoint{Id: c.ID, Title: c.Title, Files: c.Files}
	if !c.Created.IsZero() {
		out.Created = timestamppb.New(c.Created)
	}
	return out
}

func hookEventFromProto(e *pb.HookEvent) HookEvent {
	out := HookEvent{
		Event: e.GetEvent(), Lineage: e.GetLineage(), Identifiers: identifiersFromProto(e.GetIdentifiers()),
		Paths: pathsFromProto(e.GetPaths()), Problem: problemFromProto(e.GetProblem()),
		HTTPStatus: int(e.GetHttpStatus()), HTTPMethod: e.GetHttpMethod(), HTTPURL: e.GetHttpUrl(),
		Renewed: e.GetRenewed(), Failed: e.GetFailed(), Outcome: e.GetOutcome(), Messages: e.GetMessages(),
		NotBefore: timeFromProto(e.GetNotBefore()), NotAfter: timeFromProto(e.GetNotAfter()), DryRun: e.GetDryRun(),
		OrderURL: e.GetOrderUrl(), CSR: e.GetCsr(), PollIdentifier: e.GetPollIdentifier(),
		LeafPEM: e.GetLeafPem(), ChainPEM: e.GetChainPem(), FullchainPEM: e.GetFullchainPem(), CertificateRaw: e.GetCertificateRaw(),
		RenewedIdentifiers: identifiersFromProto(e.GetRenewedIdentifiers()), FailedIdentifiers: identifiersFromProto(e.GetFailedIdentifiers()),
		HTTPBody: e.GetHttpBody(), HTTPResource: e.GetHttpResource(), KeyType: e.GetKeyType(), Fatal: e.GetFatal(), Server: e.GetServer(), Verb: e.GetVerb(),
	}
	for _, h := range e.GetHttpHeaders() {
		out.HTTPHeaders = append(out.HTTPHeaders, HTTPHeader{Name: h.GetName(), Value: h.GetValue()})
	}
	if c := e.GetChallenge(); c != nil {
		challenge := challengeFromProto(c)
		out.Challenge = &challenge
	}
	return out
}

func valuesToProto(values []Value) []*pb.Value {
	var out []*pb.Value
	for _, v := range values {
		out = append(out, valueToProto(v))
	}
	return out
}

func valueToProto(v Value) *pb.Value {
	if v.Setting != "" {
		return &pb.Value{Kind: &pb.Value_Setting{Setting: v.Setting}}
	}
	return &pb.Value{Kind: &pb.Value_Literal{Literal: v.Literal}}
}

var settingTypeToProto = map[SettingType]pb.Setting_Type{
	StringSetting: pb.Setting_STRING, BoolSetting: pb.Setting_BOOL, IntSetting: pb.Setting_INT,
	DurationSetting: pb.Setting_DURATION, ListSetting: pb.Setting_STRING_LIST, MapSetting: pb.Setting_STRING_MAP,
}

func descriptionToProto(d Description) *pb.DescribeResponse {
	p := d.Permissions
	out := &pb.DescribeResponse{
		Name: d.Name, Version: d.Version, Summary: d.Summary, Homepage: d.Homepage,
		Roles: d.Roles, Features: d.Features, HookEvents: d.HookEvents, Serial: d.Serial,
		Dns: map[DNSMode]pb.DescribeResponse_Dns{HostDNS: pb.DescribeResponse_HOST, SelfDNS: pb.DescribeResponse_SELF}[d.DNS],
		Env: map[EnvMode]pb.DescribeResponse_Env{MinimalEnv: pb.DescribeResponse_MINIMAL, UserEnv: pb.DescribeResponse_USER}[d.Env],
		Permissions: &pb.Permissions{
			Read: valuesToProto(p.Read), Write: valuesToProto(p.Write), Execute: valuesToProto(p.Execute),
			ConnectTcp: valuesToProto(p.ConnectTCP), BindTcp: valuesToProto(p.BindTCP), Udp: p.UDP,
			UnixSockets: valuesToProto(p.UnixSockets), Children: p.Children, Signals: p.Signals,
			Environment: p.Environment, Unconfined: p.Unconfined, Reason: p.Reason, UnconfinedBy: p.UnconfinedBy,
			Key: map[KeyAccess]pb.Permissions_Key{KeyPath: pb.Permissions_PATH, KeyBytes: pb.Permissions_BYTES}[p.Key],
		},
	}
	for _, s := range d.Settings {
		out.Settings = append(out.Settings, &pb.Setting{
			Name: s.Name, Type: settingTypeToProto[s.Type], Required: s.Required, Secret: s.Secret,
			Default: s.Default, Doc: s.Doc, Choices: s.Choices,
		})
	}
	for _, t := range d.ChallengeTypes {
		out.ChallengeTypes = append(out.ChallengeTypes, &pb.ChallengeType{Type: t.Type, IdentifierTypes: t.IdentifierTypes})
	}
	for _, r := range d.ExclusiveResources {
		out.ExclusiveResources = append(out.ExclusiveResources, &pb.Resource{Kind: r.Kind, Value: valueToProto(r.Value)})
	}
	return out
}
