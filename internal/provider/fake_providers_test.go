package provider_test

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// fakeProviders are schemas for the other providers that the documentation uses. The real
// schemas would have to be downloaded. These contain only what the documentation uses, so
// Terraform rejects all other names. Check each new entry against the documentation of that
// provider: no test would detect a name that does not exist there.
var fakeProviders = map[string]fakeProvider{
	"hashicorp/aws": {
		configuration: block{optional: "region"},
		resources: map[string]block{
			"aws_ecr_repository": {required: "name", optional: "image_tag_mutability", computed: "repository_url"},
			"aws_ecs_task_definition": {
				required: "family container_definitions",
				optional: "requires_compatibilities network_mode cpu memory execution_role_arn",
			},
		},
		dataSources: map[string]block{"aws_ecr_authorization_token": {computed: "user_name password"}},
		ephemerals:  map[string]block{"aws_ecr_authorization_token": {computed: "user_name password"}},
	},
	"hashicorp/azurerm": {
		configuration: block{blocks: map[string]block{"features": {}}},
		dataSources:   map[string]block{"azurerm_key_vault": {required: "name resource_group_name", computed: "id"}},
		ephemerals:    map[string]block{"azurerm_key_vault_secret": {required: "name key_vault_id", computed: "value"}},
	},
	"hashicorp/google": {
		configuration: block{optional: "project region"},
		resources: map[string]block{
			"google_artifact_registry_repository": {required: "repository_id format", optional: "location"},
			"google_cloud_run_v2_service": {required: "name location", blocks: map[string]block{
				"template": {blocks: map[string]block{"containers": {required: "image"}}},
			}},
		},
		ephemerals: map[string]block{
			"google_client_config":                {computed: "access_token"},
			"google_service_account_access_token": {required: "target_service_account scopes", computed: "access_token"},
		},
	},
	"hashicorp/helm": {
		resources: map[string]block{"helm_release": {required: "name chart", optional: "values"}},
	},
	"hashicorp/kubernetes": {
		resources: map[string]block{
			"kubernetes_pod_v1": {blocks: map[string]block{"metadata": kubernetesMetadata, "spec": kubernetesPod}},
			"kubernetes_deployment_v1": {blocks: map[string]block{
				"metadata": kubernetesMetadata,
				"spec": {optional: "replicas", blocks: map[string]block{
					"selector": {optional: "match_labels"},
					"template": {blocks: map[string]block{"metadata": kubernetesMetadata, "spec": kubernetesPod}},
				}},
			}},
		},
	},
	"hashicorp/null": {
		resources: map[string]block{"null_resource": {optional: "triggers"}},
	},
}

var (
	kubernetesMetadata = block{optional: "name namespace labels"}
	kubernetesPod      = block{blocks: map[string]block{"container": {required: "name", optional: "image"}}}
)

// fakeProvider is the partial schema of another provider.
type fakeProvider struct {
	configuration                      block
	resources, dataSources, ephemerals map[string]block
}

// block is the schema of a block: the names of its attributes, separated by spaces, and its
// nested blocks. The attributes have any type.
type block struct {
	required, optional, computed string
	blocks                       map[string]block
}

func (b block) schema() *tfprotov6.Schema { return &tfprotov6.Schema{Block: b.schemaBlock()} }

func (b block) schemaBlock() *tfprotov6.SchemaBlock {
	out := &tfprotov6.SchemaBlock{}
	attributes := func(names string, kind tfprotov6.SchemaAttribute) {
		for name := range strings.FieldsSeq(names) {
			a := kind
			a.Name, a.Type = name, tftypes.DynamicPseudoType
			out.Attributes = append(out.Attributes, &a)
		}
	}
	attributes(b.required, tfprotov6.SchemaAttribute{Required: true})
	attributes(b.optional, tfprotov6.SchemaAttribute{Optional: true})
	attributes(b.computed, tfprotov6.SchemaAttribute{Computed: true})
	for _, name := range slices.Sorted(maps.Keys(b.blocks)) {
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Nesting: tfprotov6.SchemaNestedBlockNestingModeList, Block: b.blocks[name].schemaBlock(),
		})
	}
	return out
}

func schemas(of map[string]block) map[string]*tfprotov6.Schema {
	out := map[string]*tfprotov6.Schema{}
	for name, b := range of {
		out[name] = b.schema()
	}
	return out
}

// fakeProviderServer serves a fake provider for `terraform validate`. Other calls would panic.
type fakeProviderServer struct {
	tfprotov6.ProviderServer
	fakeProvider fakeProvider
}

func (s fakeProviderServer) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return &tfprotov6.GetProviderSchemaResponse{
		Provider:                 s.fakeProvider.configuration.schema(),
		ResourceSchemas:          schemas(s.fakeProvider.resources),
		DataSourceSchemas:        schemas(s.fakeProvider.dataSources),
		EphemeralResourceSchemas: schemas(s.fakeProvider.ephemerals),
	}, nil
}

func (fakeProviderServer) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (fakeProviderServer) ValidateProviderConfig(_ context.Context, req *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: req.Config}, nil
}

func (fakeProviderServer) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (fakeProviderServer) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (fakeProviderServer) ValidateEphemeralResourceConfig(context.Context, *tfprotov6.ValidateEphemeralResourceConfigRequest) (*tfprotov6.ValidateEphemeralResourceConfigResponse, error) {
	return &tfprotov6.ValidateEphemeralResourceConfigResponse{}, nil
}
