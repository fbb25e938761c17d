"""Reading the model files of others: GGUF files and safetensors directories."""
