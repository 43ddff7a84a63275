package client

// Conversions between the author's types and the wire, host's side.

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/certwright/certwright/sdk"
	"github.com/certwright/certwright/sdk/internal/wire"
	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

func problemFromProto(p *pb.Problem) *sdk.Problem {
	if p == nil {
		return nil
	}
	out := &sdk.Problem{
		Code: sdk.Internal, Summary: p.GetSummary(), Detail: p.GetDetail(),
		Hint: p.GetHint(), Subject: p.GetSubject(), After: p.GetRetryAfter().AsDuration(),
	}
	if name, ok := pb.Problem_Code_name[int32(p.GetCode())]; ok && p.GetCode() != 0 {
		out.Code = sdk.Code(name)
	}
	if out.Summary == "" {
		out.Summary = "the plugin reported a failure without words"
	}
	switch p.GetRetry() {
	case pb.Problem_PERMANENT:
		out.Retry = sdk.RetryNever
	case pb.Problem_RETRYABLE:
		out.Retry = sdk.RetryLater
	}
	return out
}

func problemToProto(p *sdk.Problem) *pb.Problem {
	if p == nil {
		return nil
	}
	out := &pb.Problem{
		Code: pb.Problem_Code(pb.Problem_Code_value[string(p.Code)]), Summary: p.Summary,
		Detail: p.Detail, Hint: p.Hint, Subject: p.Subject,
	}
	switch p.Retry {
	case sdk.RetryNever:
		out.Retry = pb.Problem_PERMANENT
	case sdk.RetryLater:
		out.Retry = pb.Problem_RETRYABLE
	}
	if p.After > 0 {
		out.RetryAfter = durationpb.New(p.After)
	}
	return out
}

func identifierToProto(i sdk.Identifier) *pb.Identifier {
	return &pb.Identifier{Type: i.Type, Value: i.Value, Wildcard: i.Wildcard}
}

func identifiersToProto(ids []sdk.Identifier) []*pb.Identifier {
	var out []*pb.Identifier
	for _, i := range ids {
		out = append(out, identifierToProto(i))
	}
	return out
}

func identifierFromProto(i *pb.Identifier) sdk.Identifier {
	return sdk.Identifier{Type: i.GetType(), Value: i.GetValue(), Wildcard: i.GetWildcard()}
}

func operationToProto(ctx context.Context) *pb.Operation {
	op := sdk.OperationFrom(ctx)
	out := &pb.Operation{
		OperationId: op.ID, RunId: op.RunID, Lineage: op.Lineage, Attempt: int32(op.Attempt),
		Identifiers: identifiersToProto(op.Identifiers), Deadline: timeToProto(op.Deadline),
	}
	return out
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func challengeToProto(c sdk.Challenge) *pb.Challenge {
	out := &pb.Challenge{
		Id: c.ID, Type: c.Type, Identifier: identifierToProto(c.Identifier),
		Token: c.Token, KeyAuthorization: c.KeyAuthorization, RawJson: c.RawJSON,
	}
	if c.HTTP != nil {
		out.Http = &pb.HttpChallenge{Path: c.HTTP.Path, Body: c.HTTP.Body}
	}
	if c.DNS != nil {
		out.Dns = &pb.DnsChallenge{Name: c.DNS.Name, Value: c.DNS.Value, Zone: c.DNS.Zone, Ttl: durationpb.New(c.DNS.TTL)}
	}
	if c.ALPN != nil {
		out.Alpn = &pb.AlpnChallenge{ServerName: c.ALPN.ServerName, CertPem: c.ALPN.CertPEM, KeyPem: c.ALPN.KeyPEM}
	}
	return out
}

func resultFromProto(r *pb.Result) sdk.Result {
	out := sdk.Result{Subject: r.GetSubject(), Receipt: r.GetReceipt(), Changed: r.GetChanged(), Diff: r.GetDiff()}
	for _, e := range r.GetEndpoints() {
		kind := sdk.TLS
		switch e.GetKind() {
		case pb.Endpoint_SMTP:
			kind = sdk.SMTP
		case pb.Endpoint_IMAP:
			kind = sdk.IMAP
		case pb.Endpoint_POP3:
			kind = sdk.POP3
		}
		out.Endpoints = append(out.Endpoints, sdk.Endpoint{Address: e.GetAddress(), ServerName: e.GetServerName(), Kind: kind})
	}
	return out
}

func pathsToProto(p sdk.Paths) *pb.Paths {
	return &pb.Paths{Cert: p.Cert, Chain: p.Chain, Fullchain: p.Fullchain, Privkey: p.Privkey}
}

func deploymentToProto(d sdk.Deployment) *pb.Deployment {
	return &pb.Deployment{
		Lineage: d.Lineage, Name: d.Name, Names: d.Names,
		LeafPem: d.LeafPEM, ChainPem: d.ChainPEM, FullchainPem: d.FullchainPEM, KeyPem: d.KeyPEM,
		Paths: pathsToProto(d.Paths), ConfigPaths: pathsToProto(d.ConfigPaths), DryRun: d.DryRun,
	}
}

func checkpointFromProto(c *pb.Checkpoint) sdk.Checkpoint {
	out := sdk.Checkpoint{ID: c.GetId(), Title: c.GetTitle(), Files: c.GetFiles()}
	if c.GetCreated() != nil {
		out.Created = c.GetCreated().AsTime()
	}
	return out
}

func hookEventToProto(e sdk.HookEvent) *pb.HookEvent {
	out := &pb.HookEvent{
		Event: e.Event, Lineage: e.Lineage, Identifiers: identifiersToProto(e.Identifiers),
		Paths: pathsToProto(e.Paths), Problem: problemToProto(e.Problem),
		HttpStatus: int32(e.HTTPStatus), HttpMethod: e.HTTPMethod, HttpUrl: e.HTTPURL,
		Renewed: e.Renewed, Failed: e.Failed, Outcome: e.Outcome, Messages: e.Messages,
		NotBefore: timeToProto(e.NotBefore), NotAfter: timeToProto(e.NotAfter), DryRun: e.DryRun,
		OrderUrl: e.OrderURL, Csr: e.CSR, PollIdentifier: e.PollIdentifier,
		LeafPem: e.LeafPEM, ChainPem: e.ChainPEM, FullchainPem: e.FullchainPEM, CertificateRaw: e.CertificateRaw,
		RenewedIdentifiers: identifiersToProto(e.RenewedIdentifiers), FailedIdentifiers: identifiersToProto(e.FailedIdentifiers),
		HttpBody: e.HTTPBody, HttpResource: e.HTTPResource, KeyType: e.KeyType, Fatal: e.Fatal, Server: e.Server, Verb: e.Verb,
	}
	for _, h := range e.HTTPHeaders {
		out.HttpHeaders = append(out.HttpHeaders, &pb.HttpHeader{Name: h.Name, Value: h.Value})
	}
	if e.Challenge != nil {
		out.Challenge = challengeToProto(*e.Challenge)
	}
	return out
}

func valuesFromProto(values []*pb.Value) []sdk.Value {
	var out []sdk.Value
	for _, v := range values {
		out = append(out, sdk.Value{Literal: v.GetLiteral(), Setting: v.GetSetting()})
	}
	return out
}

var settingTypeFromProto = map[pb.Setting_Type]sdk.SettingType{
	pb.Setting_STRING: sdk.StringSetting, pb.Setting_BOOL: sdk.BoolSetting, pb.Setting_INT: sdk.IntSetting,
	pb.Setting_DURATION: sdk.DurationSetting, pb.Setting_STRING_LIST: sdk.ListSetting, pb.Setting_STRING_MAP: sdk.MapSetting,
}

func descriptionFromProto(d *pb.DescribeResponse) sdk.Description {
	p := d.GetPermissions()
	out := sdk.Description{
		Protocol: []int{wire.Major},
		Name:     d.GetName(), Version: d.GetVersion(), Summary: d.GetSummary(), Homepage: d.GetHomepage(),
		Roles: d.GetRoles(), Features: d.GetFeatures(), HookEvents: d.GetHookEvents(), Serial: d.GetSerial(),
		DNS: map[pb.DescribeResponse_Dns]sdk.DNSMode{pb.DescribeResponse_HOST: sdk.HostDNS, pb.DescribeResponse_SELF: sdk.SelfDNS}[d.GetDns()],
		Env: map[pb.DescribeResponse_Env]sdk.EnvMode{pb.DescribeResponse_MINIMAL: sdk.MinimalEnv, pb.DescribeResponse_USER: sdk.UserEnv}[d.GetEnv()],
		Permissions: sdk.Permissions{
			Read: valuesFromProto(p.GetRead()), Write: valuesFromProto(p.GetWrite()), Execute: valuesFromProto(p.GetExecute()),
			ConnectTCP: valuesFromProto(p.GetConnectTcp()), BindTCP: valuesFromProto(p.GetBindTcp()), UDP: p.GetUdp(),
			UnixSockets: valuesFromProto(p.GetUnixSockets()), Children: p.GetChildren(), Signals: p.GetSignals(),
			Environment: p.GetEnvironment(), Unconfined: p.GetUnconfined(), Reason: p.GetReason(), UnconfinedBy: p.GetUnconfinedBy(),
			Key: map[pb.Permissions_Key]sdk.KeyAccess{pb.Permissions_PATH: sdk.KeyPath, pb.Permissions_BYTES: sdk.KeyBytes}[p.GetKey()],
		},
	}
	for _, s := range d.GetSettings() {
		out.Settings = append(out.Settings, sdk.Setting{
			Name: s.GetName(), Type: settingTypeFromProto[s.GetType()], Required: s.GetRequired(), Secret: s.GetSecret(),
			Default: s.GetDefault(), Doc: s.GetDoc(), Choices: s.GetChoices(),
		})
	}
	for _, t := range d.GetChallengeTypes() {
		out.ChallengeTypes = append(out.ChallengeTypes, sdk.ChallengeType{Type: t.GetType(), IdentifierTypes: t.GetIdentifierTypes()})
	}
	for _, r := range d.GetExclusiveResources() {
		out.ExclusiveResources = append(out.ExclusiveResources, sdk.Resource{Kind: r.GetKind(), Value: sdk.Value{Literal: r.GetValue().GetLiteral(), Setting: r.GetValue().GetSetting()}})
	}
	return out
}
